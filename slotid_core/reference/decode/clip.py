"""A video file to the frames of a reference: the right window, upright, small enough, with a note on each repair."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
import torch.nn.functional as functional

from ...errors import SlotIDError
from ...interrupts import Heartbeat, Progress
from ...video_files import MOST_PIXELS
from .audio import read_audio
from .decord_reader import DecordVideo
from .pyav_reader import PyAVVideo
from .shots import find_cuts, longest_shot
from .source import BACKENDS, FrameSource, open_source
from .window import every_frame_from, largest_window, nearest_in_time, sample_times

MOST_BYTES = 32 * 2**30  # of the frames that are returned
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
    path: str | Path | BinaryIO | FrameSource,
    num_frames: int = 65,
    start_seconds: float = 0.0,
    frames_per_second: float | None = None,
    short_side: int = 480,
    backend: str = "auto",
    progress: Progress | None = None,
) -> ReferenceClip:
    """Reads a window of 4n+1 frames of a clip, shrinking each frame as it is decoded; it never spans a cut.

    Memory beside the result is a few frames, however long the clip.

    Args:
        path: a video file or its bytes, a folder of pictures (in the order of their numbers, at 25 per second), or an
            open source, which stays open.
        num_frames: how many frames; other numbers than 4n+1 are rounded down. A shorter clip gives the largest 4n+1.
        start_seconds: where the window begins. If the scene changes within it, its longest scene is kept.
        frames_per_second: sample at this rate by presentation time; None takes every frame of the file.
        short_side: frames are shrunk to this many pixels on the shorter side; smaller ones stay as they are.
        backend: "decord", "PyAV", or "auto", which is PyAV: it reaches a late window without reading the whole file.
        progress: called with (frames read, frames wanted), also while no frame comes: what it raises stops the reading.

    Raises:
        SlotIDError: a setting out of range, or a missing, empty or broken file; the message has the remedy.
    """
    _check(num_frames, start_seconds, frames_per_second, short_side, backend)
    wanted = largest_window(num_frames)
    heartbeat = Heartbeat(progress, wanted)
    file: Path | BinaryIO | None = None
    if isinstance(path, FrameSource):
        source = path
    else:
        file = Path(path) if isinstance(path, str) else path
        source = open_source(file, backend, heartbeat)
    name = getattr(source if file is None else file, "name", "The video")
    notes: list[str] = []
    if wanted != num_frames:
        notes.append(f"{num_frames} frames asked; {wanted} taken, the next smaller 4n+1.")
    try:
        frames, times = _read(source, name, wanted, start_seconds, frames_per_second, short_side, heartbeat.report)
    finally:
        if file is not None:
            source.close()
    if not times:
        raise _nothing_read(name, start_seconds, source)
    if source.failure:
        notes.append(f"{name} breaks off after {times[-1]:.2f} s ({source.failure}).")
    first, end = longest_shot(find_cuts(frames), len(frames))
    if end - first < len(frames):
        notes.append(
            f"The scene changes within the window; only {times[first]:.2f} to {times[end - 1]:.2f} s are used, its "
            "longest scene. Choose another start, or let the best window be searched."
        )
        frames, times = frames[first:end], times[first:end]
    kept = largest_window(len(frames))
    if kept < wanted:
        notes.append(
            f"The clip gives only {len(frames)} of {wanted} frames from {start_seconds:g} s on; {kept} are used."
        )
    if kept == 1:
        notes.append("One frame shows no movement: use a longer clip if you can.")
    frames, times = frames[:kept], times[:kept]
    rate = _shown_rate(times, frames_per_second, source.rate, notes)
    for note in notes:
        logger.info("Slot-ID, %s: %s", name, note)
    audio = None
    if file is not None and isinstance(source, PyAVVideo | DecordVideo):  # pictures have no sound
        audio = read_audio(file, times[0] + source.origin_seconds, kept / rate, heartbeat)
    return ReferenceClip(frames, rate, tuple(times), audio, source.name, tuple(notes))


def _read(source: FrameSource, name, wanted, start, rate, short_side, progress) -> tuple[torch.Tensor, list[float]]:
    """(T, H, W, 3) float32 and each frame's seconds, written frame by frame into the tensor that is returned."""
    frames, times, last_load = torch.empty(0), [], None
    for time, load in islice(select_frames(source, wanted, start, rate), wanted):
        if load is last_load:
            frames[len(times)] = frames[len(times) - 1]
        else:
            try:
                image, last_load = shrink(load(), short_side), load
            except SlotIDError:
                raise
            except Exception as error:  # each backend raises its own kinds for a damaged frame
                source.failure = str(error).strip().split("\n")[0] or type(error).__name__
                break
            if not times:
                frames = _room(wanted, image.shape, name)
            pixels = torch.from_numpy(image)  # (H, W, 3)
            if pixels.shape != frames.shape[1:]:
                pixels = _resized(pixels.float(), (frames.shape[1], frames.shape[2]))
            # In place: large temporaries between small ones pile up. Sums of a resizing may end just above white.
            frames[len(times)].copy_(pixels).div_(255).clamp_(0, 1)
        times.append(round(time, 4))
        progress(len(times), wanted)
    return frames[: len(times)], times


def _room(count: int, shape: tuple[int, ...], name: str) -> torch.Tensor:
    size = count * math.prod(shape) * 4
    try:
        if size > MOST_BYTES:  # the system would promise it, and kill the server later
            raise RuntimeError("more than is ever read")
        return torch.empty(count, *shape)
    except RuntimeError as error:
        raise SlotIDError(
            f"{count} frames of {shape[1]}x{shape[0]} pixels from {name} do not fit into memory "
            f"({size / 1e9:.1f} GB). Lower short_side or num_frames."
        ) from error


def _resized(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Recordings of calls change their size on the way; the first frame's holds."""
    moved = pixels.permute(2, 0, 1)[None]
    return functional.interpolate(moved, size=size, mode="bilinear", antialias=True)[0].permute(1, 2, 0)


def select_frames(source: FrameSource, wanted: int | None, start: float, rate: float | None) -> Iterator:
    """(seconds, load) from `start` on: every frame, or those nearest to the ticks of `rate`; None has no end."""
    half_a_frame = 0.5 / source.rate
    if rate is None:
        return every_frame_from(source.frames(start), start, half_a_frame)
    return nearest_in_time(source.frames(start), sample_times(start, rate, wanted), half_a_frame)


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


def _check(num_frames, start_seconds, frames_per_second, short_side, backend) -> None:
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


def _nothing_read(name: str, start: float, source: FrameSource) -> SlotIDError:
    if source.failure:
        return SlotIDError(
            f"No frame of {name} can be decoded ({source.failure}). The file is damaged, or its frames have more than "
            f"{MOST_PIXELS // 1_000_000} megapixels: copy it again from its source, or shrink it."
        )
    if start > 0 and (source.duration is None or start >= source.duration - 0.5 / source.rate):
        length = f"{source.duration:.2f} s long" if source.duration else "shorter"
        return SlotIDError(f"{name} is {length}; it has nothing at {start:g} s. Set an earlier start.")
    return SlotIDError(f"{name} holds no frame of video. Choose another clip.")
