"""The scores of real videos in the toy world: do they rank the systems as its own judge does?

    python -m studies.scores.drawn

Held-out people are drawn by every row of `evaluation toy`, written as videos, and scored by `evaluation videos` with
the toy world's recogniser. References are clips of the people in other scenes. The recogniser's own figures come first.
Writes scores/drawn.json and scores/drawn.png, and their section of scores.md.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
from scipy.stats import rankdata
from torch import Tensor

from slotid_core.errors import SlotIDError
from slotid_core.evaluation.__main__ import main as evaluation
from slotid_core.evaluation.estimators import estimate, mean
from slotid_core.evaluation.intervals import bootstrap
from slotid_core.evaluation.likeness.people import person_of
from slotid_core.evaluation.metrics import Metrics
from slotid_core.evaluation.studio import Studio
from slotid_core.evaluation.subjects import subjects_of
from slotid_core.evaluation.usage import Usage
from slotid_core.evaluation.variants import chosen_rows
from slotid_core.files import write_json, write_text
from slotid_core.recognisers.recognisers import find_recogniser
from slotid_core.systems.registry import SYSTEMS
from slotid_core.toy_world.person import HELD_OUT_FROM, sample_person
from slotid_core.toy_world.render import render_reference

from .drawn_page import draw, with_section
from .measure import auc, threshold_of

ROWS = ("base", "stranger", "slot_id.full", "ground_truth")
PAIRS = 64  # people for the recogniser's own figures
LOOKS = slice(None, None, 8)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.scores.drawn", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--identities", type=int, default=16, help="held-out people, default 16")
    parser.add_argument("--seed", type=int, default=0, help="which held-out people; other seeds, other people")
    parser.add_argument("--output", type=Path, default=Path("docs"), help="has scores.md, gets scores/drawn.*")
    options = parser.parse_args(arguments)
    figures = of_recogniser() | of_rows(options.identities, options.seed)
    for name, value in figures.items():
        print(f"toy world  {name:<36} {value:.3f}")
    folder = options.output / "scores"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "drawn.json", figures)
    draw(figures, folder / "drawn.png")
    page = options.output / "scores.md"
    write_text(page, with_section(page.read_text(encoding="utf-8"), figures))
    return 0


def of_recogniser() -> dict[str, float]:
    """Two clips of each of `PAIRS` held-out people, in two scenes, by the toy world's recogniser."""
    toy = find_recogniser("toy")
    sides = []
    for side in (0, 1):
        people = []
        for number in range(PAIRS):
            seed = HELD_OUT_FROM + 900_000 + number
            clip = render_reference(sample_person(seed), 2 * number + side, num_frames=17, size=128)
            people.append(person_of(str(number), toy, list(uint8(clip)[LOOKS])).vector)
        sides.append(np.stack(people))
    cosine = sides[0] @ sides[1].T
    same, different = np.diag(cosine), cosine[~np.eye(PAIRS, dtype=bool)]
    return {
        "recogniser.auc": auc(same, different), "recogniser.same": float(same.mean()),
        "recogniser.different": float(different.mean()), "recogniser.threshold": threshold_of(different),
    }  # fmt: skip


def of_rows(identities: int, seed: int) -> dict[str, float]:
    studio, subjects = Studio(None, Usage()), subjects_of(seed, identities, 1)
    rows = [row for row in chosen_rows(list(ROWS), list(SYSTEMS)) if studio.has(row)]
    judge, figures = Metrics(studio, subjects, seed), {}
    with tempfile.TemporaryDirectory(prefix="slotid-drawn-") as base:
        folder = Path(base)
        for number, subject in enumerate(subjects):
            clip = render_reference(subject.person, subject.seed, num_frames=33, size=128)
            write_video(folder / "people" / f"person{number}.mp4", uint8(clip))
        for row in rows:
            clips = studio.clips(row, subjects, seed)
            measured = judge.measure(clips)["similarity"]
            put(figures, f"judge.{row.name}", estimate(measured, mean), bootstrap(measured, mean))
            for number in range(identities):
                write_video(folder / row.name / f"person{number}_0.mp4", uint8(clips[number, 0]))
        videos = [part for row in rows for part in ("--videos", str(folder / row.name))]
        evaluation([
            "videos", *videos, "--references", str(folder / "people"), "--recognisers", "toy", "--json",
            str(folder / "figures.json"),
        ])  # fmt: skip
        scored = json.loads((folder / "figures.json").read_text())
    for row in rows:
        key = f"{row.name}.toy.with_missing"
        put(figures, f"videos.{row.name}", scored[key], (scored[f"{key}.low"], scored[f"{key}.high"]))
        figures[f"detected.{row.name}"] = scored[f"{row.name}.toy.detected"]
        figures[f"face_frechet.{row.name}"] = scored[f"{row.name}.toy.face_frechet"]
    figures["people"] = identities
    ranks = [[figures[f"{of}.{row.name}"] for row in rows] for of in ("judge", "videos")]
    figures["rank_correlation"] = float(np.corrcoef(rankdata(ranks[0]), rankdata(ranks[1]))[0, 1])  # Spearman's
    return figures


def put(figures: dict[str, float], key: str, value: float, interval: tuple[float, float]) -> None:
    figures[key] = value
    figures[f"{key}.low"], figures[f"{key}.high"] = interval


def uint8(clip: Tensor) -> np.ndarray:
    return (clip.clamp(0, 1).numpy() * 255).round().astype(np.uint8)


def write_video(path: Path, frames: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=16, options={"crf": "12"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SlotIDError as error:
        sys.exit(f"scores: {error}")
