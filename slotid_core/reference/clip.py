"""A video file to the frames of a reference: the right window, upright, small enough, with a note on each repair."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional

from ..errors import SlotIDError
from .audio import read_audio
from .decode_decord import DecordVideo, decord_is_installed
from .decode_pyav import PyAVVideo
from .window import every_frame_from, largest_window, nearest_in_time, sample_times

BACKENDS = {"decord": DecordVideo, "PyAV": PyAVVideo}
Progress = Callable[[int, int], None]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReferenceClip:
    """frames (T, H, W, 3) float32 RGB in [0, 1] with T = 4n+1; times are each frame's seconds in the file."""

    frames: torch.Tensor
    frames_per_second: float
    times: tuple[float, ...]
    audio: dict | None
    backend: str
    notes: tuple[str, ...]

    @property
    def duration(self) -> float:
        """Seconds that the frames last when shown at `frames_per_second`."""
        return len(self.frames) / self.frames_per_second


def read_clip(
    path: str | Path,
    num_frames: int = 65,
    start_seconds: float = 0.0,
    frames_per_second: float | None = None,
    short_side: int = 480,
    backend: str = "auto",
    progress: Progress | None = None,
) -> ReferenceClip:
    """Reads a window of 4n+1 frames of a video file, shrinking each frame as it is decoded.

    Args:
        path: the file.
        num_frames: how many frames; other numbers than 4n+1 are rounded down. A shorter clip gives the largest 4n+1.
        start_seconds: where the window begins.
        frames_per_second: sample at this rate by presentation time; None takes every frame of the file.
        short_side: frames are shrunk to this many pixels on the shorter side; smaller ones stay as they are.
        backend: "decord", "PyAV", or "auto": decord where it is installed, PyAV otherwise and when decord fails.
        progress: called with (frames read, frames wanted).

    Raises:
        SlotIDError: a setting out of range, or a missing, empty or broken file; the message has the remedy.
    """
    path = Path(path)
    _check(path, num_frames, start_seconds, frames_per_second, short_side, backend)
    notes: list[str] = []
    wanted = largest_window(num_frames)
    if wanted != num_frames:
        notes.append(f"{num_frames} frames asked; {wanted} taken, the next smaller 4n+1.")

    def read(kind: str) -> tuple:
        return _read(BACKENDS[kind], path, wanted, start_seconds, frames_per_second, short_side, progress)

    kind = backend if backend != "auto" else "decord" if decord_is_installed() else "PyAV"
    try:
        images, times, video = read(kind)
    except SlotIDError as error:
        if backend != "auto" or kind == "PyAV":
            raise
        images, times, video = read("PyAV")
        notes.append(f"Read with PyAV: {error}")
    if not images:
        raise _nothing_read(path, start_seconds, video)
    if video.failure:
        notes.append(f"{path.name} breaks off after {times[-1]:.2f} s ({video.failure}).")
    kept = largest_window(len(images))
    if kept < wanted:
        notes.append(
            f"The clip gives only {len(images)} of {wanted} frames from {start_seconds:g} s on; {kept} are used."
        )
    if kept == 1:
        notes.append("One frame shows no movement: use a longer clip if you can.")
    frames = torch.from_numpy(np.stack(images[:kept])).float().div_(255)  # (T, H, W, 3)
    rate, times = _shown_rate(times[:kept], frames_per_second, video.rate, notes), times[:kept]
    for note in notes:
        logger.info("Slot-ID, %s: %s", path.name, note)
    audio = read_audio(path, times[0], kept / rate)
    return ReferenceClip(frames, rate, tuple(times), audio, video.name, tuple(notes))


def _read(source, path, wanted, start, rate, short_side, progress) -> tuple[list[np.ndarray], list[float], object]:
    video = source(path)
    try:
        images: list[np.ndarray] = []
        times: list[float] = []
        last_load = None
        for time, load in islice(_selected(video, wanted, start, rate), wanted):
            if load is not last_load:
                try:
                    image, last_load = shrink(load(), short_side), load
                except SlotIDError:
                    raise
                except Exception as error:  # noqa: BLE001  each backend raises its own kinds for a damaged frame
                    if source is not PyAVVideo:
                        raise SlotIDError(f"{video.name} fails at {time:.2f} s of {path.name}.") from error
                    video.failure = str(error)
                    break
            images.append(image)
            times.append(round(time, 4))
            if progress:
                progress(len(images), wanted)
        return images, times, video
    finally:
        video.close()


def _selected(video, wanted: int, start: float, rate: float | None) -> Iterator:
    half_a_frame = 0.5 / video.rate
    if rate is None:
        return every_frame_from(video.frames(start), start, half_a_frame)
    return nearest_in_time(video.frames(start), sample_times(start, rate, wanted), half_a_frame)


def shrink(image: np.ndarray, short_side: int) -> np.ndarray:
    """(H, W, 3) uint8 -> the same picture with its shorter side at most `short_side`, averaged rather than skipped.

    Both sides come out even, as video encoders need them: an odd line or column at the edge is left out.
    """
    height, width = image.shape[:2]
    scale = short_side / min(height, width)
    if scale >= 1:
        return image[: max(1, height // 2 * 2), : max(1, width // 2 * 2)]
    size = (2 * round(height * scale / 2), 2 * round(width * scale / 2))
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]  # (1, 3, H, W)
    small = functional.interpolate(pixels, size=size, mode="bilinear", antialias=True)
    return small[0].permute(1, 2, 0).numpy()


def _shown_rate(times: list[float], asked: float | None, average: float, notes: list[str]) -> float:
    if asked is not None:
        if asked > average * 1.01:
            notes.append(f"The clip has {average:.3g} frames per second; at {asked:g} some frames appear twice.")
        return float(asked)
    if len(times) < 3:
        return average
    gaps = np.diff(times)
    if gaps.max() > 1.5 * max(gaps.min(), 1e-6):
        notes.append("The clip's frame rate varies; set a rate to sample it evenly in time.")
        return float(len(gaps) / (times[-1] - times[0])) if times[-1] > times[0] else average
    return average


def _check(path: Path, num_frames, start_seconds, frames_per_second, short_side, backend) -> None:
    if not path.is_file():
        raise SlotIDError(f"There is no video file {path}. Check the name, or upload the clip again.")
    if path.stat().st_size == 0:
        raise SlotIDError(f"{path.name} is empty (0 bytes). The copy or upload broke off; do it again.")
    if num_frames < 1:
        raise SlotIDError(f"num_frames is {num_frames}; it must be at least 1 (65 is usual).")
    if not math.isfinite(start_seconds) or start_seconds < 0:
        raise SlotIDError(f"The start is {start_seconds} s; it must be 0 or more.")
    if frames_per_second is not None and not (math.isfinite(frames_per_second) and frames_per_second > 0):
        raise SlotIDError(f"The sampling rate is {frames_per_second}; it must be above 0 frames per second.")
    if short_side < 16:
        raise SlotIDError(f"The short side is {short_side} pixels; it must be at least 16 (480 is usual).")
    if backend != "auto" and backend not in BACKENDS:
        raise SlotIDError(f"There is no decoder {backend!r}. Choose auto, {', '.join(BACKENDS)}.")


def _nothing_read(path: Path, start: float, video) -> SlotIDError:
    if video.failure:
        return SlotIDError(
            f"No frame of {path.name} can be decoded ({video.failure}). The file is damaged: "
            "copy it again from its source."
        )
    if start > 0 and (video.duration is None or start >= video.duration - 0.5 / video.rate):
        length = f"{video.duration:.2f} s long" if video.duration else "shorter"
        return SlotIDError(f"{path.name} is {length}; it has nothing at {start:g} s. Set an earlier start.")
    return SlotIDError(f"{path.name} holds no frame of video. Choose another clip.")
