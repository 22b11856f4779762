"""Frames of a video file through PyAV (FFmpeg): seeks to the start, then streams."""

import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...errors import SlotIDError
from ...video_files import VideoFile, check_pixels
from .hdr import TRANSFERS, to_sdr

Frame = tuple[float, Callable[[], np.ndarray]]
STEPS_BACK = (0.0, 2.0, 10.0, float("inf"))  # seconds; formats without an index seek to somewhere behind the target


class PyAVVideo:
    """An open video file. `frames` yields (seconds since the first frame, function giving the upright RGB frame)."""

    name = "PyAV"

    def __init__(self, path: Path | BinaryIO, heartbeat: Callable[[], None] = lambda: None):
        self._file = VideoFile(path, heartbeat)
        name, self._failure, self._container = self._file.name, self._file.failure, self._file.container
        streams = self._container.streams.video
        if not streams:
            self.close()
            raise SlotIDError(f"{name} has no video stream. Choose a file with moving pictures, not only sound.")
        self._stream = streams[0]
        if self._stream.codec_context is None:
            self.close()
            raise SlotIDError(
                f"{name} is in a format that no decoder here knows, or damaged. Convert it to mp4 (H.264), or copy it "
                "again from its source."
            )
        self.size = (self._stream.codec_context.width, self._stream.codec_context.height)
        try:
            check_pixels(name, *self.size)
        except SlotIDError:
            self.close()
            raise
        self._stream.thread_type = "AUTO"
        self.rate = float(self._stream.average_rate or self._stream.guessed_rate or 0) or 25.0
        self._tick = self._stream.time_base or Fraction(0)  # seconds of one unit of the stream's clock
        self.duration = self._seconds()
        self._origin = self._stream.start_time or 0
        self.origin_seconds = float(self._origin * self._tick)  # of frame 0, on the file's clock
        self.failure: str | None = None
        self._fresh = True  # nothing has been decoded, so the file stands at its first frame

    def _seconds(self) -> float | None:
        if self._stream.duration:
            return float(self._stream.duration * self._tick)
        return self._container.duration / 1e6 if self._container.duration else None

    def frames(self, start: float = 0.0, only_key_frames: bool = False) -> Iterator[Frame]:
        """Frames in order of presentation from the last key frame before `start` on (seconds).

        A file that breaks off ends the iteration; `failure` then says why.

        Args:
            only_key_frames: decode nothing else, which is many times faster.
        """
        self._stream.codec_context.skip_frame = "NONKEY" if only_key_frames else "DEFAULT"
        try:
            if start <= 0:
                if not self._fresh:
                    self._seek(0.0)
                yield from self._decode()
                return
            for back in STEPS_BACK:
                earlier = max(0.0, start - back)
                self._seek(earlier)
                decoded = self._decode()
                first = next(decoded, None)
                if first is not None and (first[0] <= start or earlier == 0):
                    yield first
                    yield from decoded
                    return
        except self._failure as error:
            self.failure = str(error)

    def _decode(self) -> Iterator[Frame]:
        self._fresh = False
        for index, frame in enumerate(self._file.decode(self._stream)):
            time = index / self.rate if frame.pts is None else float((frame.pts - self._origin) * self._tick)
            yield time, lambda frame=frame: picture(frame)

    def _seek(self, seconds: float) -> None:
        try:
            self._file.seek(int(seconds / self._tick) + self._origin, self._stream)
        except self._failure:
            self._file.seek(0)

    def peculiarity(self) -> str | None:
        """What only this reader handles: "transparent", "HDR" or "mirrored"; None for an ordinary file."""
        self._fresh = False
        try:
            frame = next(self._file.decode(self._stream), None)
        except self._failure:
            return None
        if frame is None:
            return None
        if _has_alpha(frame):
            return "transparent"
        if getattr(frame, "color_trc", 0) in TRANSFERS:
            return "HDR"
        return "mirrored" if _orientation(frame)[0] else None

    def close(self) -> None:
        self._file.close()


def picture(frame) -> np.ndarray:
    """A decoded frame as (H, W, 3) uint8 RGB: standard range, on white where it is transparent, and upright."""
    transfer = TRANSFERS.get(getattr(frame, "color_trc", 0))
    if transfer is not None:
        image = to_sdr(frame.to_ndarray(format="rgb48le"), transfer)
    elif _has_alpha(frame):
        image = on_white(frame.to_ndarray(format="rgba"))
    else:
        image = frame.to_ndarray(format="rgb24")
    mirrored, quarter_turns = _orientation(frame)
    if mirrored:
        image = image[:, ::-1]
    return np.ascontiguousarray(np.rot90(image, quarter_turns))


def on_white(image: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 RGBA -> (H, W, 3)."""
    opacity = image[..., 3:].astype(np.uint16)
    return ((image[..., :3] * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


def _has_alpha(frame) -> bool:
    return any(component.is_alpha for component in frame.format.components)


def _orientation(frame) -> tuple[bool, int]:
    """How the file asks its frames to be shown: first mirrored left to right, then turned counter-clockwise (in 90°).

    `frame.rotation` alone cannot tell a mirrored picture from a turned one.
    """
    for data in frame.side_data:
        if "DISPLAYMATRIX" not in str(data.type):
            continue
        a, b, _, c, d = struct.unpack("5i", bytes(memoryview(data))[:20])  # x' = a x + c y, y' = b x + d y
        mirrored = a * d - b * c < 0
        if mirrored:
            a, b = -a, -b
        return mirrored, round(np.degrees(np.arctan2(-b, a)) / 90) % 4
    return False, 0
