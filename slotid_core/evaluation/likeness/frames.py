"""The frames of a video as scores take them: whole ones, and small ones for what counts movement."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import SlotIDError
from ...picture_files import ENDINGS as PICTURES
from ...picture_files import read_rgb
from ...video_files import ENDINGS as VIDEOS
from ...video_files import VideoFile

MOST_BYTES = 8 * 2**30  # of one video's frames in memory
SMALL_SIDE = 128  # pixels of the shorter side of small frames


@dataclass(frozen=True)
class Frames:
    """Attributes:
    pixels: (T, H, W, 3) uint8 RGB.
    rate: frames per second, 0 if nobody knows.
    """

    pixels: np.ndarray
    rate: float

    def __len__(self) -> int:
        return len(self.pixels)

    def seconds(self, indices: np.ndarray) -> np.ndarray:
        """When frames are shown; their numbers where the rate is not known."""
        return indices / self.rate if self.rate > 0 else indices.astype(float)

    def small(self, side: int = SMALL_SIDE) -> Tensor:
        """Grey (T, h, w) float32 in [0, 1], the shorter side `side` pixels, never enlarged."""
        height, width = self.pixels.shape[1:3]
        scale = min(1.0, side / min(height, width))
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        weights = torch.tensor([0.299, 0.587, 0.114])
        parts = []
        for start in range(0, len(self), 16):
            picture = torch.from_numpy(self.pixels[start : start + 16]).float() / 255 @ weights
            parts.append(F.interpolate(picture[:, None], size, mode="area")[:, 0])
        return torch.cat(parts)


def read_video(path: Path, heartbeat: Callable[[], None] = lambda: None) -> Frames:
    """All frames of a video, or of a folder of pictures in the order of their names.

    Raises:
        SlotIDError: no such file, no video, or too long for the memory.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
        if not files:
            raise SlotIDError(f"{path} holds no pictures. Give a video, or a folder of frames.")
        return Frames(_stacked([read_rgb(file) for file in files], path), 0.0)
    with VideoFile(path, heartbeat) as file:
        if not file.container.streams.video:
            raise SlotIDError(f"{file.name} has no video stream. Give a file with moving pictures.")
        stream = file.container.streams.video[0]
        rate = float(stream.average_rate or 0)
        frames, taken = [], 0
        for frame in file.decode(stream):
            frames.append(frame.to_ndarray(format="rgb24"))
            taken += frames[-1].nbytes
            if taken > MOST_BYTES:
                raise SlotIDError(
                    f"{path.name} has more than {MOST_BYTES >> 30} GiB of frames. Cut or shrink it first."
                )
    if not frames:
        raise SlotIDError(f"{path.name} holds no frame. Copy it again from its source.")
    return Frames(_stacked(frames, path), rate)


def _stacked(frames: list[np.ndarray], path: Path) -> np.ndarray:
    if len({frame.shape for frame in frames}) > 1:
        raise SlotIDError(f"{path.name} has frames of several sizes. Bring them to one size first.")
    return np.stack(frames)


def is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS


def evenly(count: int, wanted: int) -> np.ndarray:
    """Indices of `wanted` frames of `count`, the first and the last among them, as numpy.linspace rounds down."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count), dtype=int)) if count else np.empty(0, dtype=int)
