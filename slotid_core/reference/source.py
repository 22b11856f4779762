"""What a clip can be read from, and how the right reader is found."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import SlotIDError
from .decode_decord import DecordVideo
from .decode_images import ImageFolder
from .decode_pyav import PyAVVideo

BACKENDS = {"decord": DecordVideo, "PyAV": PyAVVideo}


class FrameSource(Protocol):
    """An open clip. `rate` is its average frames per second, `duration` its seconds where known.

    `failure` says why the frames ended early, if they did.
    """

    name: str
    rate: float
    duration: float | None
    size: tuple[int, int]  # width, height in pixels as stored
    failure: str | None

    def frames(self, start: float = 0.0) -> Iterator[tuple[float, Callable[[], np.ndarray]]]:
        """(seconds since the first frame, function giving the upright (H, W, 3) uint8 RGB picture), in order."""
        ...

    def close(self) -> None: ...


def open_source(path: Path, backend: str = "auto") -> FrameSource:
    """A video file, or a folder of pictures.

    "auto" is PyAV: it reaches a window without reading what lies before, where decord first reads the whole file.

    Raises:
        SlotIDError: nothing is there, or it cannot be read; the message has the remedy.
    """
    if path.is_dir():
        return ImageFolder(path)
    if not path.is_file():
        raise SlotIDError(f"There is no video file {path}. Check the name, or upload the clip again.")
    if path.stat().st_size == 0:
        raise SlotIDError(f"{path.name} is empty (0 bytes). The copy or upload broke off; do it again.")
    return BACKENDS["PyAV" if backend == "auto" else backend](path)
