"""The clean latents that a prediction implies, and the prediction that changed ones imply.

Along Wan's straight paths x_t = (1 - t) x_0 + t ε, and the model predicts v = ε - x_0, so x_0 = x_t - t v.
"""

from collections.abc import Callable

from torch import Tensor

# (clean latents (B, C, T, H, W), noise level (B,)) -> clean latents of the same shape.
ChangeClean = Callable[[Tensor, Tensor], Tensor]
Velocity = Callable[[Tensor, Tensor], Tensor]


def clean_latents(noisy: Tensor, velocity: Tensor, noise_level: Tensor) -> Tensor:
    """x_0 for noisy and velocity (B, C, T, H, W), noise_level (B,)."""
    return noisy - noise_level.view(-1, 1, 1, 1, 1) * velocity


def with_changed_clean(velocity: Velocity, change: ChangeClean) -> Velocity:
    """A velocity that leads to `change` of the clean latents that `velocity` leads to.

    At noise level 0 nothing is left to predict, and the velocity stays.
    """

    def changed(x: Tensor, noise_level: Tensor) -> Tensor:
        predicted = velocity(x, noise_level)
        before = clean_latents(x, predicted, noise_level)
        level = noise_level.view(-1, 1, 1, 1, 1)
        moved = (before - change(before, noise_level)) / level.clamp(min=1e-6)
        return predicted + moved * (level > 0)

    return changed
