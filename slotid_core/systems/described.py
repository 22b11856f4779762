"""What the frozen model says of a person in words, as a target for an adapter that reads references."""

import torch
from torch import Tensor

from ..wan import WanModel
from ..wan.lora import without_lora
from .contract import Batch


def described_loss(model: WanModel, batch: Batch, noisy: Tensor, velocity: Tensor, weight: float) -> Tensor:
    """Weighted squared distance (B,) to the velocity that the frozen model predicts for described captions.

    It is 0 for samples without one; at a weight of 0 the model is not asked.

    Args:
        model: with LoRA or without; its LoRA takes no part.
        noisy: (B, C, T, H, W) latents that `velocity` was predicted from.
        weight: of this step; see `SharedObjective.described_weight_at`.
    """
    context = batch.described
    if context is None or not weight:
        return velocity.new_zeros(len(velocity), dtype=torch.float32)
    dtype = model.patch_embedding.weight.dtype
    with torch.no_grad(), without_lora(model):
        target = model(noisy.to(dtype), 1000 * batch.noise_level, context.to(dtype), padding_row=context.shape[1] - 1)
    taught = context.abs().amax((1, 2)) > 0  # (B,)
    return weight * (velocity.float() - target.float()).square().mean((1, 2, 3, 4)) * taught
