"""Classifier-free guidance with two scales, one for the text and one for the person.

∅ is no text, c the prompt, id the person; v is the model's prediction:

    text first      v(∅,∅) + s_text [v(c,∅) - v(∅,∅)] + s_id [v(c,id) - v(c,∅)]
    identity first  v(∅,∅) + s_id [v(∅,id) - v(∅,∅)] + s_text [v(c,id) - v(∅,id)]

With equal scales both are ordinary guidance, v(∅,∅) + s [v(c,id) - v(∅,∅)], and the middle prediction is not needed.

Steps of guidance can be refined: adaptive projected guidance (arXiv 2410.02416), and rescaling (arXiv 2305.08891,
section 3.4), both on clean latents x_0 = x_t - t v. Both are off by default.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import torch
from torch import Tensor

from ..ranges import Range, Share, check_ranges
from .hooks.latents import clean_latents
from .sampling import euler

GuidanceOrder = Literal["text first", "identity first"]
ORDERS: tuple[GuidanceOrder, ...] = ("text first", "identity first")


@dataclass(frozen=True)
class Refinement:
    """What is done to the steps of guidance, against burnt colours at high scales.

    Attributes:
        parallel: weight of the part of each step that is parallel to the clean latents which it leads to; 1 keeps it,
            0 leaves it out. Adaptive projected guidance's η.
        norm_limit: a step's largest norm, over the channels and places of a frame; 0 for none.
        rescale: share, 0 to 1, to which the guided latents get the standard deviation of those with prompt and person.
    """

    parallel: Share = 1.0
    norm_limit: Annotated[float, Range(0, 1e6)] = 0.0
    rescale: Share = 0.0

    __post_init__ = check_ranges

    @property
    def is_off(self) -> bool:
        return self == OFF


OFF = Refinement()


def guided_latents(
    empty: Tensor, middle: Tensor | None, full: Tensor, first_scale: float, second_scale: float, refinement: Refinement
) -> Tensor:
    """Clean latents (B, C, T, H, W) by guidance from predictions of clean latents.

    Args:
        middle: with the prompt or the person alone; None for ordinary guidance at `second_scale`.
    """
    if middle is None:
        steps = [(second_scale, full - empty, full)]
    else:
        steps = [(first_scale, middle - empty, middle), (second_scale, full - middle, full)]
    guided = empty
    for scale, step, towards in steps:
        guided = guided + scale * projected(step, towards, refinement)
    if refinement.rescale:
        axes = tuple(range(1, full.dim()))
        factor = full.std(axes, keepdim=True) / guided.std(axes, keepdim=True).clamp(min=1e-6)
        guided = torch.lerp(guided, guided * factor, refinement.rescale)
    return guided


def projected(step: Tensor, towards: Tensor, refinement: Refinement) -> Tensor:
    """A step (B, C, T, H, W) with its norm limited and its part parallel to `towards` weighted, frame by frame."""
    if refinement.parallel == 1 and not refinement.norm_limit:
        return step
    axes = (1, 3, 4)
    change, direction = step.double(), towards.double()
    if refinement.norm_limit:
        norm = change.square().sum(axes, keepdim=True).sqrt()
        change = change * (refinement.norm_limit / norm.clamp(min=refinement.norm_limit))
    length = direction.square().sum(axes, keepdim=True).clamp(min=1e-12)
    parallel = (change * direction).sum(axes, keepdim=True) / length * direction
    return (change + (refinement.parallel - 1) * parallel).to(step.dtype)


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


def passes(text_scale: float, identity_scale: float) -> int:
    """How many predictions a step takes with a person: the middle one is not needed at equal scales."""
    return 2 if math.isclose(text_scale, identity_scale) else 3


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
    refinement: Refinement = OFF,
    begin: float = 1.0,
) -> Tensor:
    """Normalised latents like `noise` (B, 16, T, H, W), by Euler steps.

    Args:
        context: (B, M, 4096) with a padding row last.
        empty_text: (M', 4096), the rows of the empty prompt.
        has_person: False for ordinary guidance by the text.
        active: the person acts from the first of these noise levels down to the second.
        refinement: of the steps of guidance.
        begin: the noise level of `noise`; below 1 it is latents with noise of this level.
    """
    count = len(noise)
    empty_text = empty_text.to(context)
    nothing = torch.cat([empty_text, torch.zeros_like(empty_text[:1])]).expand(count, -1, -1)
    first_scale, second_scale = scales_in_order(order, text_scale, identity_scale)

    def velocity(x: Tensor, level: Tensor) -> Tensor:
        strength = ((level <= active[0]) & (level >= active[1])).float()  # (B,)
        empty, middle = predict(x, level, nothing, None).float(), None
        if not has_person:
            full = predict(x, level, context, None).float()
            return combined(x, level, empty, None, full, text_scale, text_scale)
        if passes(text_scale, identity_scale) > 2:
            if order == "text first":
                middle = predict(x, level, context, None).float()
            else:
                middle = predict(x, level, nothing, strength).float()
        full = predict(x, level, context, strength).float()
        return combined(x, level, empty, middle, full, first_scale, second_scale)

    def combined(x: Tensor, level: Tensor, empty: Tensor, middle: Tensor | None, full: Tensor, first, second) -> Tensor:
        if refinement.is_off:  # on velocities themselves: what is linear is the same there
            return guided_latents(empty, middle, full, first, second, refinement)
        clean_middle = None if middle is None else clean_latents(x, middle, level)
        clean_empty, clean_full = clean_latents(x, empty, level), clean_latents(x, full, level)
        guided = guided_latents(clean_empty, clean_middle, clean_full, first, second, refinement)
        return (x - guided) / level.view(-1, 1, 1, 1, 1).clamp(min=1e-6)

    return euler(velocity, noise, steps, shift, begin)
