"""Encoding a long clip a few frames at a time, with the numbers of encoding it whole.

Every part of the encoder looks at the present and the past only. So each one keeps the last frames that it saw, sees
them again before the next chunk, and drops what comes out for them. A whole clip of 65 frames at 480x832 would need
tens of gigabytes.
"""

import itertools

import torch
from torch import Tensor

from .vae import CausalConv3d, Downsample, WanVAE

PIXELS_AT_ONCE = 8 * 480 * 832


def encode_in_chunks(vae: WanVAE, pixels: Tensor, pixels_at_once: int = PIXELS_AT_ONCE) -> Tensor:
    """As `WanVAE.encode`, in chunks of 1, then 4n frames of at most `pixels_at_once`; for inference only.

    Args:
        pixels: (B, 3, T, H, W) in [-1, 1], T = 4n+1.

    Returns:
        (B, 16, (T+3)/4, H/8, W/8), not normalised.
    """
    count = pixels.shape[2]
    length = max(4, pixels_at_once // (pixels.shape[3] * pixels.shape[4]) // 4 * 4)
    if count <= length + 1 or (count - 1) % 4:  # short, or refused by `encode`
        return vae.encode(pixels)
    handles = []
    try:
        for module in vae.encoder.modules():
            past = _frames_of_the_past(module)
            if past:
                memory = _Memory(past)
                handles.append(module.register_forward_pre_hook(memory.recall))
                handles.append(module.register_forward_hook(memory.drop))
        bounds = [0, *range(length + 1, count, length), count]
        parts = [vae.encoder(pixels[:, :, start:end]) for start, end in itertools.pairwise(bounds)]
    finally:
        for handle in handles:
            handle.remove()
    return vae.conv1(torch.cat(parts, dim=2)).chunk(2, dim=1)[0]


def _frames_of_the_past(module: torch.nn.Module) -> int:
    if isinstance(module, CausalConv3d):
        return module.kernel_size[0] - 1
    return 1 if isinstance(module, Downsample) and module.time_conv is not None else 0


class _Memory:
    """The last input frames of one module. A `Downsample` gives one frame for the frame it is shown again, a
    convolution one for each."""

    def __init__(self, past: int):
        self.past = past
        self.frames: Tensor | None = None
        self.shown_again = 0

    def recall(self, module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        (x,) = inputs
        if self.frames is not None:
            self.shown_again = self.frames.shape[2]
            x = torch.cat([self.frames, x], dim=2)
        self.frames = x[:, :, -self.past :].clone()
        return (x,)

    def drop(self, module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return output[:, :, self.shown_again :]
