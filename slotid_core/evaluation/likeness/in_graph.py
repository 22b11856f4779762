"""Scores of frames that are already in memory, for nodes: one person, one recogniser."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from ...errors import SlotIDError
from ...recognisers.recogniser import Recogniser
from ...reference.faces.find_faces import check_frames
from .face_scores import face_figures
from .frames import Frames, evenly
from .networks import Networks
from .people import LOOKS, person_of
from .track import Track, follow, indices_of

Progress = Callable[[int, int], None]
PROMPT_SCORES = ("xclip", "clip_score")  # of `Networks`, in the order of preference


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


def prompt_scores(looked: list[Looked], prompt: str, folders: list[str]) -> tuple[str, list[float]]:
    """How well each video follows the prompt, and which network says so: X-CLIP where it lies, else CLIP.

    Raises:
        SlotIDError: neither lies in the folders.
    """
    networks = Networks([Path(folder) for folder in folders])
    name = next((name for name in PROMPT_SCORES if name in networks.places), "")
    if not name:
        raise SlotIDError(
            "prompt_weight is above 0, and nothing can score the prompt. "
            + " ".join(networks.missing[name] for name in PROMPT_SCORES)
            + f" Here that is one of {', '.join(folders)}. Or set prompt_weight to 0."
        )
    networks.places = {name: networks.places[name]}
    return name, [networks.figures(one.frames, prompt)[f"video.{name}"] for one in looked]


def totals(looked: list[Looked], prompt: list[float] | None = None, weight: float = 0.0) -> list[float]:
    """What the best video has most of: likeness, frames without a face counted as nobody; or likeness and prompt.

    A cosine of X-CLIP and one of a recogniser have no common scale. So each of the two is stretched to 0 for the worst
    of these videos and 1 for the best, and `weight`, 0 to 1, is the prompt's share.
    """
    likeness = [one.figures["with_missing"] for one in looked]
    if prompt is None:
        return likeness
    return [(1 - weight) * a + weight * b for a, b in zip(_stretched(likeness), _stretched(prompt), strict=True)]


def best_of(values: list[float]) -> int:
    """The largest; the first of equals."""
    return int(np.argmax(values))


def _stretched(values: list[float]) -> list[float]:
    least, most = min(values), max(values)
    return [(value - least) / (most - least) if most > least else 0.0 for value in values]
