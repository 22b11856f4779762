"""What the frozen model says of a person in words, as a target for an adapter that reads references."""

import torch
from torch import Tensor

from ..errors import SlotIDError
from ..wan import WanModel
from ..wan.lora import without_lora
from .contract import Batch


def described_loss(model: WanModel, batch: Batch, noisy: Tensor, velocity: Tensor) -> Tensor:
    """Squared distance (B,) to the velocity that the frozen model predicts for described captions; 0 without one.

    Args:
        model: with LoRA or without; its LoRA takes no part.
        noisy: (B, C, T, H, W) latents that `velocity` was predicted from.

    Raises:
        SlotIDError: the batch has no described captions.
    """
    context = batch.described
    if context is None:
        raise SlotIDError("The batch has no described captions. Set objective.described_weight to 0.")
    dtype = model.patch_embedding.weight.dtype
    with torch.no_grad(), without_lora(model):
        target = model(noisy.to(dtype), 1000 * batch.noise_level, context.to(dtype), padding_row=context.shape[1] - 1)
    taught = context.abs().amax((1, 2)) > 0  # (B,)
    return (velocity.float() - target.float()).square().mean((1, 2, 3, 4)) * taught
