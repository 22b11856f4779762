"""The pictures of one training sample, before any model sees them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Pixels:
    """All in [0, 1]: video (T, H, W, 3), reference (T', S, S, 3), portrait (1, P, P, 3), face_picture (1, P, P, 3).

    The face picture is the frame that the portrait was made of, with its background.
    `face_squares` (T, 3) are left, top and side, in pixels of the video, of what a face picture would show of each
    frame; None where nobody looked.
    `face_frames` gives (T", P, P, 3), face pictures of all moments of the reference; None where there is but one.
    `factors` (F,) are what a drawn person was drawn from, for measurement; None where nobody knows them.
    `video_parts` gives (T, H, W, 7) and `picture_parts` (1, P, P, 7), what each pixel shows of a face, in the order of
    `reference.portrait.parts`; None where a parsing network has to say it.
    `facts` goes beside the sample: window, detector, crop report.
    """

    video: Tensor
    reference: Tensor
    portrait: Tensor
    face_picture: Tensor
    factors: Tensor | None = None
    facts: dict = field(default_factory=dict)
    face_squares: np.ndarray | None = None
    video_parts: Callable[[], Tensor] | None = None
    picture_parts: Callable[[], Tensor] | None = None
    face_frames: Callable[[], Tensor] | None = None


def fill(frames: Tensor, height: int, width: int, keep: tuple[float, float, float, float] | None = None) -> Tensor:
    """Frames resized until they cover height x width, with what sticks out cut off.

    Args:
        frames: (T, H, W, 3).
        keep: left, top, right, bottom in pixels of the frames; the cut is in the middle, moved just so far that this
            stays in. Without it, a standing person in a wide picture would lose the head.

    Returns:
        (T, height, width, 3)
    """
    size, top, left = place_of(frames.shape[1], frames.shape[2], height, width, keep)
    resized = F.interpolate(
        frames.permute(0, 3, 1, 2), size=size, mode="bicubic", antialias=True, align_corners=False
    ).clamp(0, 1)
    return resized[:, :, top : top + height, left : left + width].permute(0, 2, 3, 1)


def place_of(
    height: int, width: int, wanted_height: int, wanted_width: int, keep: tuple[float, float, float, float] | None
) -> tuple[tuple[int, int], int, int]:
    """Size (height, width) to which `fill` resizes, and the first row and column that it keeps."""
    scale = max(wanted_height / height, wanted_width / width)
    size = (max(wanted_height, round(height * scale)), max(wanted_width, round(width * scale)))
    vertical, horizontal = None, None
    if keep:
        left, top, right, bottom = (scale * edge for edge in keep)
        vertical, horizontal = (top, bottom), (left, right)
    return size, _cut(size[0], wanted_height, vertical), _cut(size[1], wanted_width, horizontal)


def _cut(extent: int, wanted: int, keep: tuple[float, float] | None) -> int:
    """First of the `wanted` pixels that are kept of `extent`; the interval `keep` is among them if it fits."""
    start = (extent - wanted) / 2
    if keep is not None:
        first, last = keep
        start = (first + last - wanted) / 2 if last - first > wanted else min(max(start, last - wanted), first)
    return round(min(max(start, 0), extent - wanted))
