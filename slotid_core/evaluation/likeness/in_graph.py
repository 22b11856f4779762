"""Scores of frames that are already in memory, for nodes: one person, one recogniser."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...errors import SlotIDError
from ...recognisers.recogniser import Recogniser
from ...reference.faces.find_faces import check_frames
from .face_scores import face_figures
from .frames import Frames, evenly
from .people import LOOKS, person_of
from .track import Track, follow, indices_of

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Looked:
    """One video: what was seen, and its figures by name."""

    frames: Frames
    track: Track
    figures: dict[str, float]


def frames_of(images: Tensor, rate: float = 0.0) -> Frames:
    """Frames (T, H, W, 3) in [0, 1] as scores take them.

    Raises:
        SlotIDError: another shape, or NaN in them.
    """
    check_frames(images)
    pixels = (images[..., :3].detach().cpu().float().clamp(0, 1) * 255).round().byte().numpy()
    return Frames(pixels, rate)


def look_at(
    videos: list[Tensor], reference: Tensor, recogniser: Recogniser, looks: int = 0, progress: Progress | None = None
) -> list[Looked]:
    """Videos (T, H, W, 3) in [0, 1] against pictures (N, H, W, 3) of a person.

    Args:
        looks: as for `indices_of`.
        progress: called with frames looked at and frames in all.

    Raises:
        SlotIDError: no reference shows a face.
    """
    if not videos:
        raise SlotIDError("No video came in. Connect at least one.")
    pictures = frames_of(reference).pixels
    person = person_of("the reference", recogniser, list(pictures[evenly(len(pictures), LOOKS)]))
    clips = [frames_of(video) for video in videos]
    plans = [indices_of(len(clip), looks) for clip in clips]
    done, total = 0, sum(map(len, plans))

    def advance() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    found = []
    for clip, indices in zip(clips, plans, strict=True):
        (track,) = follow(clip, [person], recogniser, indices, advance)
        found.append(Looked(clip, track, face_figures(track, len(clip), recogniser)))
    return found


def best_of(looked: list[Looked]) -> int:
    """The video that is most like the person, frames without a face counted as nobody; the first of equals."""
    return int(np.argmax([one.figures["with_missing"] for one in looked]))
