"""Frames of a video file through PyAV (FFmpeg): seeks to the start, then streams."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ..errors import SlotIDError

Frame = tuple[float, Callable[[], np.ndarray]]


class PyAVVideo:
    """An open video file. `frames` yields (seconds since the first frame, function giving the upright RGB frame)."""

    name = "PyAV"

    def __init__(self, path: Path):
        import av

        self._failure = av.error.FFmpegError
        try:
            self._container = av.open(str(path))
        except (av.error.FFmpegError, ValueError, OSError) as error:
            raise SlotIDError(
                f"{path.name} cannot be read as a video ({error}). It may be truncated or of an unknown format: "
                "copy it again from its source, or convert it to mp4 (H.264)."
            ) from error
        streams = self._container.streams.video
        if not streams:
            self.close()
            raise SlotIDError(f"{path.name} has no video stream. Choose a file with moving pictures, not only sound.")
        self._stream = streams[0]
        self._stream.thread_type = "AUTO"
        self._path = path
        self.rate = float(self._stream.average_rate or self._stream.guessed_rate or 0) or 25.0
        self.duration = self._seconds()
        self.failure: str | None = None

    def _seconds(self) -> float | None:
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        return self._container.duration / 1e6 if self._container.duration else None

    def frames(self, start: float = 0.0) -> Iterator[Frame]:
        """Frames in order of presentation from the last key frame before `start` on (seconds).

        A file that breaks off ends the iteration; `failure` then says why.
        """
        origin = self._stream.start_time or 0
        if start > 0:
            self._seek(int(start / self._stream.time_base) + origin)
        try:
            for index, frame in enumerate(self._container.decode(self._stream)):
                timed = frame.pts is not None
                time = float((frame.pts - origin) * self._stream.time_base) if timed else index / self.rate
                yield time, lambda frame=frame: _upright(frame)
        except self._failure as error:
            self.failure = str(error)

    def _seek(self, timestamp: int) -> None:
        try:
            self._container.seek(timestamp, stream=self._stream)
        except self._failure:
            self._container.seek(0)

    def close(self) -> None:
        self._container.close()


def _upright(frame) -> np.ndarray:
    """The frame as (H, W, 3) uint8 RGB, turned as the rotation in its metadata asks."""
    quarter_turns = round(frame.rotation / 90)
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), quarter_turns))
