"""The sound that belongs to a window of a video file."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from ...video_files import VideoFile


def read_audio(
    path: Path | BinaryIO, start: float, duration: float, heartbeat: Callable[[], None] = lambda: None
) -> dict | None:
    """The first audio stream from `start` for `duration` seconds of the file's clock, in the form of ComfyUI's AUDIO.

    Args:
        heartbeat: as for `VideoFile`.

    Returns:
        {"waveform": (1, channels, samples) float32 in [-1, 1], "sample_rate": Hz}, or None where there is no sound.
    """
    import av
    from av.error import FFmpegError

    try:
        with VideoFile(path, heartbeat) as file:
            container = file.container
            if not container.streams.audio or container.streams.audio[0].codec_context is None:
                return None
            stream = container.streams.audio[0]
            rate = stream.codec_context.sample_rate
            resampler = av.AudioResampler(format="fltp", rate=rate)
            if start > 0:
                file.seek(int(start / stream.time_base), stream)
            first, chunks = None, []
            for frame in file.decode(stream):
                if frame.time is not None and frame.time >= start + duration:
                    break
                first = frame.time if first is None else first
                chunks += [converted.to_ndarray() for converted in resampler.resample(frame)]
    except (FFmpegError, ValueError):
        return None
    if not chunks:
        return None
    samples = np.concatenate(chunks, axis=1)  # (channels, samples)
    skip = max(0, round((start - (first or 0.0)) * rate))
    window = samples[:, skip : skip + round(duration * rate)]
    if window.shape[1] == 0:
        return None
    return {"waveform": torch.from_numpy(np.ascontiguousarray(window))[None].float(), "sample_rate": rate}


def cut_audio(audio: dict, start: float, duration: float) -> dict | None:
    """The part of ComfyUI's AUDIO that belongs to a window of the video; None where it is already over."""
    rate = audio["sample_rate"]
    window = audio["waveform"][..., round(start * rate) : round((start + duration) * rate)]
    return {"waveform": window, "sample_rate": rate} if window.shape[-1] else None
