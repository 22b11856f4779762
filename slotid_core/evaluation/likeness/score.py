"""All scores of one video: faces by each recogniser, every frame, and what the kept networks say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...recognisers.recogniser import Recogniser
from ...recognisers.recognisers import CONDITIONING
from .face_scores import doubtful_frames, face_figures
from .frame_scores import FrameScores, frame_scores
from .frames import Frames
from .people import Person
from .track import Track, follow, indices_of


@dataclass(frozen=True)
class Scored:
    """What was measured of a video.

    Attributes:
        figures: flat, `<recogniser>.<figure>` or `<recogniser>.<person>.<figure>` of several people, `frames.<figure>`.
        tracks: (recogniser, person) -> the curve.
        suspects: what is wrong -> the frames.
    """

    figures: dict[str, float]
    tracks: dict[tuple[str, str], Track]
    frames: FrameScores
    suspects: dict[str, list[int]] = field(default_factory=dict)


def score_video(
    frames: Frames, people: Mapping[str, Sequence[Person]], recognisers: Sequence[Recogniser], looks: int = 0,
    conditioned: Sequence[str] = (), advance: Callable[[], object] = lambda: None,
) -> Scored:  # fmt: skip
    """
    Args:
        people: of each recogniser the people who should be seen, in the same order.
        looks: frames looked at beside those of the published protocols; below 0 all of them.
        conditioned: recognisers whose embedding the video was made from.
    """
    indices = indices_of(len(frames), looks)
    figures: dict[str, float] = {}
    tracks: dict[tuple[str, str], Track] = {}
    suspects: dict[str, list[int]] = {}
    for recogniser in recognisers:
        wanted = people[recogniser.name]
        for person, track in zip(wanted, follow(frames, wanted, recogniser, indices, advance), strict=True):
            tracks[recogniser.name, person.name] = track
            prefix = key_of(recogniser.name, conditioned) + (f".{person.name}" if len(wanted) > 1 else "")
            figures |= {
                f"{prefix}.{name}": value for name, value in face_figures(track, len(frames), recogniser).items()
            }
            doubtful = doubtful_frames(track, recogniser)
            if len(doubtful):
                suspects[f"{prefix}: another face"] = doubtful.tolist()
    figures |= together(figures, [r for r in recognisers if r.name not in conditioned])
    first = next(iter(tracks.values()), None)
    places = zip(first.indices, first.boxes, strict=True) if first else ()
    boxes = {int(index): box for index, box in places if box is not None}
    plain = frame_scores(frames, boxes)
    figures |= {f"frames.{name}": value for name, value in plain.figures().items()}
    for what, found in (
        ("blurred", plain.blurred_frames()), ("frozen", plain.frozen_frames()), ("mirrored", plain.mirrored_frames())
    ):  # fmt: skip
        if len(found):
            suspects[what] = found.tolist()
    return Scored(figures, tracks, plain, suspects)


def key_of(recogniser: str, conditioned: Sequence[str]) -> str:
    """A recogniser that the video was conditioned on says how well a condition was copied, and its key says so."""
    return f"conditioned.{recogniser}" if recogniser in conditioned else recogniser


def together(figures: Mapping[str, float], judges: Sequence[Recogniser]) -> dict[str, float]:
    """Mean of the calibrated similarities of recognisers that conditioned nothing; cosines have no common scale."""
    values = [
        value for recogniser in judges for key, value in figures.items()
        if key.startswith(f"{recogniser.name}.") and key.endswith(".calibrated") and np.isfinite(value)
    ]  # fmt: skip
    return {"likeness": float(np.mean(values))} if values else {}


def conditioned_by(system: str) -> tuple[str, ...]:
    """The recognisers whose embeddings a system of the registry reads."""
    if not system:
        return ()
    from ...systems.registry import inference_of

    return CONDITIONING if "face_embedding" in inference_of(system).required_tensors else ()


def files_of(folder: Path) -> list[Path]:
    """Videos in a folder and in the folders below, by name."""
    from .frames import is_video

    return sorted(path for path in folder.rglob("*") if path.is_file() and is_video(path))
