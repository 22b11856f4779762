"""How much fine detail latents have. The mean of all that could be has the least error, and is blurred."""

from torch import Tensor


def detail(latents: Tensor) -> Tensor:
    """Mean squared difference of neighbouring places in a frame: (B, C, T, h, w) -> (B,)."""
    across = [latents.diff(dim=axis).square().flatten(1) for axis in (3, 4) if latents.shape[axis] > 1]
    return sum((part.mean(1) for part in across), latents.new_zeros(len(latents)))


def sharpness(latents: Tensor, truth: Tensor) -> Tensor:
    """Root of the ratio of their detail, (B,): 1 is as sharp as the truth, less is blurred, more is noisy."""
    return (detail(latents.float()) / detail(truth.float()).clamp_min(1e-12)).sqrt()
