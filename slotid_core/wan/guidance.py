"""Classifier-free guidance with two scales, one for the text and one for the person.

∅ is no text, c the prompt, id the person; v is the model's prediction:

    text first      v(∅,∅) + s_text [v(c,∅) - v(∅,∅)] + s_id [v(c,id) - v(c,∅)]
    identity first  v(∅,∅) + s_id [v(∅,id) - v(∅,∅)] + s_text [v(c,id) - v(∅,id)]

With equal scales both are ordinary guidance, v(∅,∅) + s [v(c,id) - v(∅,∅)].
"""

from typing import Literal, Protocol

import torch
from torch import Tensor

from .sampling import euler

GuidanceOrder = Literal["text first", "identity first"]
ORDERS: tuple[GuidanceOrder, ...] = ("text first", "identity first")


class Predict(Protocol):
    """A system's prediction of the velocity, for a fixed person in each row of the batch."""

    def __call__(self, noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor | None) -> Tensor:
        """Noise minus latents (B, 16, T, H, W).

        Args:
            noisy: (B, 16, T, H, W) normalised latents with noise.
            noise_level: (B,) in [0, 1].
            context: (B, M, 4096) text rows; the last one is zero and stands for all padding.
            strength: (B,), 0 where a row has no person; None for the model without any person.
        """
        ...


def scales_in_order(order: GuidanceOrder, text_scale: float, identity_scale: float) -> tuple[float, float]:
    """(scale of the step to the middle prediction, scale of the step from there to the full one)."""
    return (text_scale, identity_scale) if order == "text first" else (identity_scale, text_scale)


@torch.no_grad()
def sample_guided(
    predict: Predict,
    noise: Tensor,
    context: Tensor,
    empty_text: Tensor,
    has_person: bool = True,
    steps: int = 20,
    shift: float = 3.0,
    text_scale: float = 4.0,
    identity_scale: float = 4.0,
    order: GuidanceOrder = "text first",
    active: tuple[float, float] = (1.0, 0.0),
) -> Tensor:
    """Normalised latents like `noise` (B, 16, T, H, W), by Euler steps.

    Args:
        context: (B, M, 4096) with a padding row last.
        empty_text: (M', 4096), the rows of the empty prompt.
        has_person: False for ordinary guidance by the text.
        active: the person acts from the first of these noise levels down to the second.
    """
    count = len(noise)
    empty_text = empty_text.to(context)
    nothing = torch.cat([empty_text, torch.zeros_like(empty_text[:1])]).expand(count, -1, -1)
    first_scale, second_scale = scales_in_order(order, text_scale, identity_scale)

    def velocity(x: Tensor, level: Tensor) -> Tensor:
        strength = ((level <= active[0]) & (level >= active[1])).float()  # (B,)
        empty = predict(x, level, nothing, None).float()
        if not has_person:
            text = predict(x, level, context, None).float()
            return empty + text_scale * (text - empty)
        if order == "text first":
            middle = predict(x, level, context, None).float()
        else:
            middle = predict(x, level, nothing, strength).float()
        full = predict(x, level, context, strength).float()
        return empty + first_scale * (middle - empty) + second_scale * (full - middle)

    return euler(velocity, noise, steps, shift)
