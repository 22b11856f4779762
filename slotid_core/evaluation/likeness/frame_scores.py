"""What can be said of every frame without a trained network: how sharp it is, how it moves, which way round it is.

No published figure is one of these. They find what the published ones pass over: a blurred stretch, a frozen one, one
that is mirrored.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...reference.faces.face import Box
from .frames import Frames

FROZEN = 2e-4  # mean change of a small frame, as a share of white, below which nothing moves
BLURRED = 0.5  # of the video's usual sharpness
FACE_SIDE = 96  # pixels of the picture of a face whose sharpness is measured


@dataclass(frozen=True)
class FrameScores:
    """Each (T,), NaN where it cannot be said.

    Attributes:
        sharpness: of the middle of the picture, or of the face where its box is known.
        change: mean absolute difference to the frame before, as a share of white.
        jump: the same over the usual change around it; a cut or a swapped stretch begins where it is large.
        mirrored: 1 where the frame is the other way round than the first, else 0.
    """

    sharpness: np.ndarray
    change: np.ndarray
    jump: np.ndarray
    mirrored: np.ndarray

    def figures(self) -> dict[str, float]:
        moving = self.change[1:]
        usual = np.nanmedian(self.sharpness)
        return {
            "sharpness": float(usual),
            "blurred": float((self.sharpness < BLURRED * usual).mean()),
            "change": float(moving.mean()) if len(moving) else float("nan"),
            "frozen": float((moving < FROZEN).mean()) if len(moving) else float("nan"),
            "largest_jump": float(np.nanmax(self.jump)) if len(moving) else float("nan"),
            "mirrored": float(self.mirrored.mean()),
        }

    def blurred_frames(self) -> np.ndarray:
        return np.flatnonzero(self.sharpness < BLURRED * np.nanmedian(self.sharpness))

    def frozen_frames(self) -> np.ndarray:
        """Frames that are those before them."""
        return np.flatnonzero(self.change < FROZEN)

    def mirrored_frames(self) -> np.ndarray:
        return np.flatnonzero(self.mirrored > 0)


FRAME_FIGURES = {
    "sharpness": "usual detail of the face, or of the middle of the picture: root mean square of its Laplacian over "
    "its contrast",
    "blurred": "share of frames with less than half of that",
    "change": "mean absolute difference of neighbouring frames, as a share of white",
    "frozen": "share of frames that do not differ from the one before",
    "largest_jump": "largest change over the usual one; cuts and swapped stretches have 5 and more",
    "mirrored": "share of frames that are the other way round than the first",
}


def frame_scores(frames: Frames, boxes: dict[int, Box] | None = None) -> FrameScores:
    """
    Args:
        boxes: the face of frames where it is known, in pixels; of others the box of the nearest one is taken.
    """
    small = frames.small()
    change = torch.cat([torch.full((1,), torch.nan), small.diff(dim=0).abs().mean((1, 2))]).double().numpy()
    return FrameScores(_sharpness(frames, boxes or {}), change, _jumps(change), _mirrored(small))


def _sharpness(frames: Frames, boxes: dict[int, Box]) -> np.ndarray:
    height, width = frames.pixels.shape[1:3]
    known = np.array(sorted(boxes))
    values = []
    for index, frame in enumerate(frames.pixels):
        box = (width / 4, height / 4, width * 3 / 4, height * 3 / 4)
        if len(known):
            box = boxes[int(known[np.abs(known - index).argmin()])]
        left, top = max(0, int(box[0])), max(0, int(box[1]))
        right, bottom = min(width, max(left + 8, int(box[2]))), min(height, max(top + 8, int(box[3])))
        grey = torch.from_numpy(frame[top:bottom, left:right].astype(np.float32)).mean(-1)[None, None] / 255
        values.append(_detail(grey) if min(grey.shape[-2:]) >= 8 else float("nan"))
    return np.array(values)


def _detail(grey: Tensor) -> float:
    """Root mean square of the Laplacian over the standard deviation, of a picture (1, 1, H, W) brought to one size."""
    scale = FACE_SIDE / min(grey.shape[-2:])
    if scale < 1:
        grey = F.interpolate(grey, scale_factor=scale, mode="area")
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return float(F.conv2d(grey, kernel).square().mean().sqrt() / grey.std().clamp(min=1e-3))


def _jumps(change: np.ndarray, around: int = 8) -> np.ndarray:
    """Each change over the median of those around it, which is at least what counts as movement."""
    jumps = np.full(len(change), np.nan)
    for index in range(1, len(change)):
        near = np.r_[change[max(1, index - around) : index], change[index + 1 : index + 1 + around]]
        if len(near):
            jumps[index] = change[index] / max(float(np.median(near)), FROZEN)
    return jumps


def _mirrored(small: Tensor) -> np.ndarray:
    """A frame is turned against the one before if it resembles that one's mirror image more, and clearly so."""
    turned, state = [0.0], 0.0
    for before, now in pairwise(small):
        straight, mirror = _alike(before, now), _alike(before.flip(-1), now)
        if mirror > straight + 0.02:
            state = 1.0 - state
        turned.append(state)
    return np.array(turned)


def _alike(one: Tensor, other: Tensor) -> float:
    a, b = one - one.mean(), other - other.mean()
    return float((a * b).mean() / (a.square().mean() * b.square().mean()).sqrt().clamp(min=1e-6))
