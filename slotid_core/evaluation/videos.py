"""Videos as the toy world's judges take them."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..errors import SlotIDError
from ..toy_world.motion import CLIP_FRAMES
from ..toy_world.render import FRAME_SIZE
from ..video_files import VideoFile


def read_frames(path: Path) -> tuple[np.ndarray, float]:
    """All frames of a video (T, H, W, 3) uint8 and its frames per second."""
    with VideoFile(Path(path)) as file:
        if not file.container.streams.video:
            raise SlotIDError(f"{file.name} has no video stream. Give a file with moving pictures.")
        stream = file.container.streams.video[0]
        rate = float(stream.average_rate or 0)
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]), rate


def as_judged(frames: np.ndarray) -> Tensor:
    """(T, H, W, 3) uint8 -> (T, 64, 64, 3) in [0, 1]."""
    pixels = rearrange(torch.from_numpy(frames).float() / 255, "t h w c -> t c h w")
    if pixels.shape[-2:] != (FRAME_SIZE, FRAME_SIZE):
        pixels = F.interpolate(pixels, (FRAME_SIZE, FRAME_SIZE), mode="area")
    return rearrange(pixels, "t c h w -> t h w c")


def of_judged_length(clip: Tensor) -> Tensor:
    """(T, ...) -> (17, ...), the first ones, the last repeated if need be: the judges know no other length."""
    return clip[torch.arange(CLIP_FRAMES).clamp(max=len(clip) - 1)]
