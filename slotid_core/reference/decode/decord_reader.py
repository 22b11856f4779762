"""Frames of a video file through decord, where it has a wheel: the same frames as PyAV."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ...errors import SlotIDError
from ...video_files import looks_like_text
from .pyav_reader import Frame, PyAVVideo


def decord_is_installed() -> bool:
    return importlib.util.find_spec("decord") is not None


class DecordVideo:
    """An open video file with the interface of `PyAVVideo`. decord itself turns frames upright."""

    name = "decord"

    def __init__(self, path: Path, heartbeat: Callable[[], None] = lambda: None):
        self._heartbeat = heartbeat
        self._refuse_what_only_pyav_shows_right(path)
        if looks_like_text(path):
            raise SlotIDError(
                f"decord chooses a format by itself, and could take {path.name} for a list of other files. Use the "
                "PyAV backend."
            )
        # decord retries 10240 times at the end of a damaged file, which looks like a hang; sound files need some 500
        os.environ.setdefault("DECORD_EOF_RETRY_MAX", "2048")
        try:
            import decord

            decord.logging.set_level(decord.logging.FATAL)
            self._reader = decord.VideoReader(str(path), ctx=decord.cpu(0))
            self._times = self._reader.get_frame_timestamp(range(len(self._reader)))[:, 0]
            self.rate = float(self._reader.get_avg_fps())
        except Exception as error:  # decord raises its own kinds, and OSError when its library is missing
            raise SlotIDError(
                f"decord cannot read {path.name} ({_first_line(error)}). Use the PyAV backend."
            ) from error
        if not len(self._times):
            raise SlotIDError(f"decord finds no frame in {path.name}. Use the PyAV backend.")
        self._times = self._times - self._times[0]
        self.duration = float(self._times[-1]) + 1 / self.rate
        self.failure: str | None = None

    def _refuse_what_only_pyav_shows_right(self, path: Path) -> None:
        """decord ignores mirroring, transparency and HDR, and for a picture of any size takes the memory it asks."""
        probe = PyAVVideo(path, self._heartbeat)
        try:
            self.size, self.origin_seconds = probe.size, probe.origin_seconds
            peculiarity = probe.peculiarity()
        finally:
            probe.close()
        if peculiarity:
            raise SlotIDError(f"decord does not show {peculiarity} video right. Use the PyAV backend for {path.name}.")

    def frames(self, start: float = 0.0, only_key_frames: bool = False) -> Iterator[Frame]:
        """Frames in order of presentation from shortly before `start` on (seconds)."""
        reader = self._reader
        assert reader is not None  # frames are read before `close`
        first = max(0, int(self._times.searchsorted(start)) - 1)
        indices = range(first, len(self._times))
        if only_key_frames:
            indices = [key for key in reader.get_key_indices() if key >= first]
        for index in indices:
            self._heartbeat()
            yield float(self._times[index]), lambda index=index: self._picture(index)

    def _picture(self, index: int) -> np.ndarray:
        assert self._reader is not None
        image = self._reader[index].asnumpy()
        if image.ndim != 3 or image.shape[2] != 3:  # of a clip 16 pixels wide decord gives two pixels for one
            width, height = self.size
            raise SlotIDError(f"decord does not read {width}x{height} video right. Use the PyAV backend.")
        return image

    def close(self) -> None:
        self._reader = None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
