"""Which videos are scored, whom they should show, and what was asked for: from folders or from a list."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import SlotIDError
from ...files import read_json
from .frames import is_picture, is_video
from .score import files_of

JOINED = "+"  # between the names of several people in a video's name


@dataclass(frozen=True)
class Job:
    """One video. `row` is what is compared, such as a system; `people` has the references of each by name."""

    video: Path
    row: str
    people: dict[str, list[Path]]
    prompt: str = ""


def jobs_of_folders(videos: Sequence[Path], references: Path, prompts: dict[str, str]) -> list[Job]:
    """A row for each folder of videos, named like it.

    A video belongs to the person whose name its folder or its own name begins with: `ann/3.mp4`, `ann_3.mp4`,
    `ann+bob_3.mp4` for both.

    Raises:
        SlotIDError: a folder holds no videos, or nobody belongs to one of them.
    """
    known = people_of(references)
    jobs = []
    for folder in videos:
        if not folder.is_dir():
            raise SlotIDError(f"There is no folder {folder}. Give --videos a folder of videos.")
        files = files_of(folder)
        if not files:
            raise SlotIDError(f"{folder} holds no videos.")
        for file in files:
            names = whose(file.relative_to(folder), known)
            if not names:
                raise SlotIDError(
                    f"Nobody of {', '.join(list(known)[:8])} belongs to {file.name}. Begin its name, or its folder's, "
                    "with the name of a reference; or give --list."
                )
            prompt = prompts.get(str(file.relative_to(folder)), prompts.get(file.stem, ""))
            jobs.append(Job(file, folder.resolve().name, {name: known[name] for name in names}, prompt))
    return jobs


def jobs_of_list(path: Path) -> list[Job]:
    """One JSON object a line: video, references (a list, or a list of each person by name), row, prompt. Paths may be
    relative to the list.

    Raises:
        SlotIDError: a line cannot be read, or lacks video or references.
    """
    jobs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            references = entry["references"]
            people = references if isinstance(references, dict) else {Path(references[0]).stem: references}
            found = {name: [path.parent / one for one in of] for name, of in people.items()}
            jobs.append(
                Job(path.parent / entry["video"], str(entry.get("row", "videos")), found, str(entry.get("prompt", "")))
            )
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise SlotIDError(
                f"{path.name}, line {number}: {type(error).__name__} {error}. A line is such as "
                '{"video": "ann_1.mp4", "references": ["ann.jpg"], "row": "mine", "prompt": "..."}.'
            ) from error
    if not jobs:
        raise SlotIDError(f"{path.name} names no videos.")
    return jobs


def read_prompts(path: Path | None) -> dict[str, str]:
    """Prompts of videos by name, from a JSON object."""
    if path is None:
        return {}
    return {
        str(name): str(text) for name, text in read_json(path, "Give an object of video names and prompts.").items()
    }


def people_of(references: Path) -> dict[str, list[Path]]:
    """Names and files: a folder of each person, or a picture or clip of each."""
    if not references.is_dir():
        raise SlotIDError(f"There is no folder {references}. Give --references a folder of people.")
    found = {path.name if path.is_dir() else path.stem: [path] for path in sorted(references.iterdir())
             if path.is_dir() or is_picture(path) or is_video(path)}  # fmt: skip
    if not found:
        raise SlotIDError(f"{references} holds no pictures, clips or folders of people.")
    return found


def whose(file: Path, known: dict[str, list[Path]]) -> list[str]:
    """The people whose names a video's folder, or else its own name, begins with; the longest name wins."""
    for text in (*reversed(file.parts[:-1]), file.stem):
        names = [_begins(part, known) for part in text.split(JOINED)]
        found = [name for name in names if name]
        if len(found) == len(names):
            return found
    return []


def _begins(text: str, known: dict[str, list[Path]]) -> str:
    fits = [name for name in known if text == name or text.startswith((f"{name}_", f"{name}-", f"{name}."))]
    return max(fits, key=len, default="")
