"""Clips made on the fly: each frame carries its number as brightness, and its corners tell which way is up."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (96, 64)  # width, height as stored
STEP = 8  # brightness between frames


def numbered_frame(index: int, size=SIZE) -> np.ndarray:
    """(H, W, 3) uint8: grey level 20 + 8 * index, with a white top-left and a black top-right corner."""
    width, height = size
    frame = np.full((height, width, 3), 20 + STEP * index, dtype=np.uint8)
    frame[: height // 4, : width // 4] = 255
    frame[: height // 4, -width // 4 :] = 0
    return frame


def number_of(frame) -> int:
    """The index that `numbered_frame` wrote, from a decoded (H, W, 3) frame in [0, 1]."""
    height, width = frame.shape[:2]
    middle = frame[height // 3 : -height // 3, width // 3 : -width // 3]
    return round((float(middle.mean()) * 255 - 20) / STEP)


def write_video(
    path: Path,
    codec: str = "libx264",
    rate: int = 25,
    frames: int = 24,
    rotation: int = 0,
    times: list[float] | None = None,
    size=SIZE,
    sound: bool = False,
    options: dict | None = None,
) -> Path:
    """A small video; `times` gives each frame its second of presentation, for a variable frame rate."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=Fraction(rate))
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size = 8
        stream.bit_rate = 4_000_000
        if codec == "libx265":
            stream.options = {"x265-params": "log-level=none"}
        if rotation:
            stream.set_display_rotation(rotation)
        clock = Fraction(1, 1000) if times else Fraction(1, rate)
        stream.codec_context.time_base = clock
        tone = container.add_stream("aac", rate=16000, layout="mono") if sound else None
        for index in range(len(times) if times else frames):
            frame = av.VideoFrame.from_ndarray(numbered_frame(index, size), format="rgb24")
            frame.pts = round(times[index] * 1000) if times else index
            frame.time_base = clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone:
            container.mux(tone.encode(_tone(frames / rate)))
            container.mux(tone.encode(None))
    return path


def _tone(seconds: float, rate: int = 16000):
    """Silence for half of the time, then 440 Hz."""
    count = round(seconds * rate)
    samples = np.where(np.arange(count) < count // 2, 0, np.sin(2 * np.pi * 440 * np.arange(count) / rate))
    frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
    frame.sample_rate = rate
    frame.pts = 0
    return frame
