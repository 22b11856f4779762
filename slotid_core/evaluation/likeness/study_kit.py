"""A blinded study: a folder with a page of anonymous comparisons, and mean opinion scores from what raters send back.

A question shows the person and one video of each row, in an order of the rater's own, under names that tell nothing.
Three scales of 1 to 5 are asked of each video: face similarity, visual quality, text alignment. `key.json` says which
video is whose; it stays outside the folder that raters get.
"""

import hashlib
import html
import json
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import SlotIDError
from ...files import read_json, write_json, write_text
from ..estimators import estimate, mean
from ..intervals import bootstrap
from .frames import is_picture
from .jobs import Job

SCALES = {"face_similarity": "Face similarity", "visual_quality": "Visual quality", "text_alignment": "Text alignment"}
PAGE = Path(__file__).parent / "configs" / "study.html"


def make_study(jobs: Sequence[Job], folder: Path, seed: int = 0) -> int:
    """Write `page/` for raters and `key.json`; returns the number of questions.

    Jobs of one person and one prompt become a question if there is one of every row; of several seeds the first counts.

    Raises:
        SlotIDError: no person and prompt has a video of every row.
    """
    rows = list(dict.fromkeys(job.row for job in jobs))
    grouped: dict[tuple, dict[str, Job]] = defaultdict(dict)
    for job in jobs:
        grouped["+".join(job.people), job.prompt or _place(job)].setdefault(job.row, job)
    complete = {asked: group for asked, group in grouped.items() if len(group) == len(rows)}
    if not complete or len(rows) < 2:
        raise SlotIDError(f"No person and prompt has a video of each row ({', '.join(rows)}). Give two rows or more.")
    page = folder / "page"
    page.mkdir(parents=True, exist_ok=True)
    key: dict[str, dict[str, str]] = {}
    questions = []
    for number, ((person, prompt), group) in enumerate(complete.items()):
        videos = []
        for row, job in group.items():
            name = _anonymous(f"{seed}/{number}/{row}") + job.video.suffix
            shutil.copyfile(job.video, page / name)
            key[name] = {"row": row, "person": person, "prompt": job.prompt}
            videos.append(name)
        shown = []
        for path in (one for paths in next(iter(group.values())).people.values() for one in paths):
            source = (
                next((file for file in sorted(path.iterdir()) if is_picture(file)), None) if path.is_dir() else path
            )
            if source is not None:
                shown.append(_anonymous(f"{seed}/{number}/{source.name}") + source.suffix)
                shutil.copyfile(source, page / shown[-1])
        prompt = next(iter(group.values())).prompt  # of the place in a list nobody need know
        questions.append({"references": shown, "prompt": prompt, "videos": sorted(videos)})
    study = hashlib.sha256(json.dumps(sorted(key)).encode()).hexdigest()[:12]
    write_json(folder / "key.json", {"study": study, "videos": key})
    facts = json.dumps({"study": study, "questions": questions, "scales": SCALES}).replace("<", "\\u003c")
    write_text(page / "index.html", PAGE.read_text(encoding="utf-8").replace("__STUDY__", facts))
    return len(questions)


def read_study(key_file: Path, results: Sequence[Path]) -> dict[str, float]:
    """Mean opinion scores `<row>.<scale>` with 95% intervals over people, each the mean over raters and prompts.

    Raises:
        SlotIDError: results of another study, of one rater twice, or no grade from 1 to 5.
    """
    key = read_json(key_file, "Give the key.json that was written with the study.")
    grades: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    raters = set()
    for path in results:
        found = read_json(path, "Leave it out, or ask the rater for it again.")
        if found.get("study") != key["study"]:
            raise SlotIDError(f"{path.name} is of another study. Leave it out.")
        if found["rater"] in raters:
            raise SlotIDError(f"{path.name}: the rater {found['rater']!r} is there twice. Keep one of the two files.")
        raters.add(found["rater"])
        for name, given in found["grades"].items():
            if name not in key["videos"]:
                raise SlotIDError(f"{path.name} grades {name!r}, which is no video of the study. Leave it out.")
            video = key["videos"][name]
            for scale, grade in given.items():
                if scale not in SCALES or not isinstance(grade, int) or not 1 <= grade <= 5:
                    raise SlotIDError(f"{path.name}: {scale} of {name} is {grade!r}; it must be 1 to 5. Leave it out.")
                grades[video["row"], scale][video["person"]].append(grade)
    if not raters:
        raise SlotIDError("No results were given.")
    figures: dict[str, float] = {"raters": len(raters)}
    for (row, scale), people in sorted(grades.items()):
        values = np.array([[np.mean(of)] for of in people.values()])
        figures[f"{row}.{scale}"] = estimate(values, mean)
        figures[f"{row}.{scale}.low"], figures[f"{row}.{scale}.high"] = bootstrap(values, mean)
        figures[f"{row}.{scale}.grades"] = sum(map(len, people.values()))
    return figures


def _anonymous(text: str) -> str:
    return hashlib.sha256(f"study {text}".encode()).hexdigest()[:16]


def _place(job: Job) -> str:
    """Without prompts, videos of several rows belong together by their names."""
    return html.escape(job.video.stem)
