"""Sampling along Wan's straight paths without ComfyUI, for sample sheets and studies."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]


def noise_levels(steps: int, shift: float, device: torch.device | None = None) -> Tensor:
    """steps + 1 noise levels from 1 to 0, shifted as Wan's are (Wan 2.1, section 4.2.4): (steps + 1,)."""
    return shifted(torch.linspace(1, 0, steps + 1, device=device), shift)


def shifted(noise_level, shift: float):
    """Noise levels, a number or a tensor, moved towards 1 for a shift above 1."""
    return shift * noise_level / (1 + (shift - 1) * noise_level)


@torch.no_grad()
def euler(velocity: Velocity, noise: Tensor, steps: int, shift: float, begin: float = 1.0) -> Tensor:
    """From noise (B, C, T, H, W) to latents; `velocity(x, noise_level (B,))` predicts noise minus latents.

    Args:
        steps: from noise level 1 to 0.
        begin: the level of `noise`; below 1 it is latents with noise of this level, and takes the steps that are left.
    """
    x = noise
    levels = noise_levels(steps, shift, noise.device)
    levels = torch.cat([levels.new_tensor([begin]), levels[levels < begin]])
    for now, after in itertools.pairwise(levels):
        x = x + (after - now) * velocity(x, now.expand(len(x))).to(x.dtype)
    return x
