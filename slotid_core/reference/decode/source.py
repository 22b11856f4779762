"""What a clip can be read from, and how the right reader is found."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from .decord_reader import DecordVideo
from .image_reader import ImageFolder
from .pyav_reader import PyAVVideo

BACKENDS = {"decord": DecordVideo, "PyAV": PyAVVideo}


@runtime_checkable
class FrameSource(Protocol):
    """An open clip. `rate` is its average frames per second, `duration` its seconds where known.

    `failure` says why the frames ended early, if they did.
    """

    name: str
    rate: float
    size: tuple[int, int]  # width, height in pixels as stored
    failure: str | None

    @property
    def duration(self) -> float | None: ...

    def frames(self, start: float = 0.0, only_key_frames: bool = False) -> Iterator:
        """(seconds since the first frame, function giving the upright (H, W, 3) uint8 RGB picture), in order."""
        ...

    def close(self) -> None: ...


def open_source(
    file: Path | BinaryIO, backend: str = "auto", heartbeat: Callable[[], None] = lambda: None
) -> FrameSource:
    """A video file (or its bytes), or a folder of pictures.

    "auto" is PyAV: it reaches a window without reading what lies before, where decord first reads the whole file.

    Args:
        heartbeat: called often while the clip is opened, sought in and decoded; what it raises ends the work.

    Raises:
        SlotIDError: nothing is there, or it cannot be read; the message has the remedy.
    """
    if not isinstance(file, Path):
        return PyAVVideo(file, heartbeat)
    if file.is_dir():
        return ImageFolder(file, heartbeat)
    return BACKENDS["PyAV" if backend == "auto" else backend](file, heartbeat)


class Trimmed:
    """A part of an open clip, with the interface of the whole: `start` becomes second 0."""

    def __init__(self, source: FrameSource, start: float, duration: float | None):
        self._source, self._start = source, start
        rest = None if source.duration is None else max(0.0, source.duration - start)
        self.duration = min((length for length in (duration, rest) if length is not None), default=None)
        self.name, self.rate, self.size = source.name, source.rate, source.size

    @property
    def failure(self) -> str | None:
        return self._source.failure

    @failure.setter
    def failure(self, reason: str | None) -> None:
        self._source.failure = reason

    def frames(self, start: float = 0.0, only_key_frames: bool = False) -> Iterator:
        for time, load in self._source.frames(start + self._start, only_key_frames):
            if self.duration is not None and time - self._start >= self.duration:
                return
            if time >= self._start - 0.5 / self.rate:
                yield time - self._start, load

    def close(self) -> None:
        self._source.close()
