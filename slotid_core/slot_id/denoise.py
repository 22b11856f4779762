"""A Wan model's prediction with an identity in it, and clips sampled from it; for training and studies.

In ComfyUI the same injection is installed by the nodes; here by hand, on our own `WanModel`.
"""

import torch
from torch import Tensor

from ..wan import WanModel
from ..wan.injection import install_identity
from ..wan.sampling import euler
from .guidance import GuidanceOrder, scales_in_order
from .identity import Identity


def predict_velocity(
    model: WanModel,
    noisy: Tensor,
    noise_level: Tensor,
    context: Tensor,
    identity: Identity | None = None,
    strength: Tensor | None = None,
    token_mask: Tensor | None = None,
) -> Tensor:
    """Noise minus latents (B, 16, T, H, W), as the model predicts it.

    Args:
        noisy: (B, 16, T, H, W) normalised latents with noise.
        noise_level: (B,) in [0, 1].
        context: (B, M, 4096) text rows; the last one is zero and stands for all padding.
        identity: of every row of the batch, or one for all.
        strength: (B,), 0 where a row has no identity.
        token_mask: (B, N) of 0 and 1, identity tokens kept.
    """
    padding_row = context.shape[1] - 1
    options: dict = {}
    if identity is not None:
        condition = identity.condition(noise_level, strength, token_mask)
        options = install_identity(options, condition, range(model.config.num_layers), padding_row=padding_row)
    dtype = model.patch_embedding.weight.dtype
    return model(
        noisy.to(dtype), 1000 * noise_level, context.to(dtype), transformer_options=options, padding_row=padding_row
    )


@torch.no_grad()
def sample_clips(
    model: WanModel,
    noise: Tensor,
    context: Tensor,
    empty_text: Tensor,
    identity: Identity | None,
    steps: int = 20,
    shift: float = 3.0,
    text_scale: float = 4.0,
    identity_scale: float = 4.0,
    order: GuidanceOrder = "text first",
    active: tuple[float, float] = (1.0, 0.0),
) -> Tensor:
    """Normalised latents like `noise`, guided as `slot_id.guidance` says.

    Args:
        context: (B, M, 4096) with a padding row last.
        empty_text: (M', 4096), the rows of the empty prompt.
        identity: of each row of the batch, or None for ordinary guidance by the text.
        active: the identity acts from the first of these noise levels down to the second.
    """
    count = len(noise)
    empty_text = empty_text.to(context)
    nothing = torch.cat([empty_text, torch.zeros_like(empty_text[:1])]).expand(count, -1, -1)
    first_scale, second_scale = scales_in_order(order, text_scale, identity_scale)

    def velocity(x: Tensor, level: Tensor) -> Tensor:
        strength = ((level <= active[0]) & (level >= active[1])).float()  # (B,)
        empty = predict_velocity(model, x, level, nothing).float()
        if identity is None:
            text = predict_velocity(model, x, level, context).float()
            return empty + text_scale * (text - empty)
        if order == "text first":
            middle = predict_velocity(model, x, level, context).float()
        else:
            middle = predict_velocity(model, x, level, nothing, identity, strength).float()
        full = predict_velocity(model, x, level, context, identity, strength).float()
        return empty + first_scale * (middle - empty) + second_scale * (full - middle)

    return euler(velocity, noise, steps, shift)
