"""Frames that are no video file: a folder of pictures, or frames that are already here."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from ...errors import SlotIDError
from ...picture_files import ENDINGS, open_picture
from .pyav_reader import Frame, on_white

MOST_PICTURES = 100_000  # over an hour at the usual rate
USUAL_RATE = 25.0  # frames per second; pictures in a folder have no clock


class ImageFolder:
    """The pictures of a folder, in the order of the numbers in their names, with the interface of a video."""

    name = "Pillow"
    failure: str | None = None

    def __init__(self, folder: Path, heartbeat: Callable[[], None] = lambda: None, rate: float = USUAL_RATE):
        self._heartbeat = heartbeat
        files = []
        for file in folder.iterdir():
            heartbeat()
            # a link could lead anywhere on the machine
            if file.suffix.lower() in ENDINGS and file.is_file() and not file.is_symlink():
                files.append(file)
        if not files:
            raise SlotIDError(f"The folder {folder.name} holds no pictures ({', '.join(ENDINGS)}). Choose another.")
        if len(files) > MOST_PICTURES:
            raise SlotIDError(
                f"The folder {folder.name} holds {len(files)} pictures; more than {MOST_PICTURES} are not read as one "
                "clip. Move those that you need into a folder of their own."
            )
        self._files = sorted(files, key=lambda file: _in_order(file.name))
        self.rate = rate
        self.duration = len(files) / rate
        height, width = _read(self._files[0]).shape[:2]
        self.size = (width, height)

    def frames(self, start: float = 0.0, only_key_frames: bool = False) -> Iterator[Frame]:
        for index in range(max(0, int(start * self.rate) - 1), len(self._files)):
            self._heartbeat()
            yield index / self.rate, lambda index=index: _read(self._files[index])

    def close(self) -> None:
        pass


class GivenFrames:
    """Frames in memory, (T, H, W, 3) in [0, 1], with the interface of a video."""

    name = "given frames"
    failure: str | None = None

    def __init__(self, frames: torch.Tensor, rate: float):
        self._frames = frames
        self.rate = rate
        self.duration = len(frames) / rate
        self.size = (frames.shape[2], frames.shape[1])

    def frames(self, start: float = 0.0, only_key_frames: bool = False) -> Iterator[Frame]:
        for index in range(max(0, int(start * self.rate) - 1), len(self._frames)):
            yield index / self.rate, lambda index=index: self._picture(index)

    def _picture(self, index: int) -> np.ndarray:
        return (self._frames[index, ..., :3].float().clamp(0, 1) * 255).round().byte().cpu().numpy()

    def close(self) -> None:
        pass


def _in_order(name: str) -> list:
    """frame_2 before frame_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name.lower())]


def _read(file: Path) -> np.ndarray:
    from PIL import Image, ImageOps

    with open_picture(file) as opened:
        upright = ImageOps.exif_transpose(opened)
        if upright.mode.startswith("I;16"):
            upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
        if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
            return on_white(np.asarray(upright.convert("RGBA")))
        return np.array(upright.convert("RGB"))
