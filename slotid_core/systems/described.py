"""What the frozen model says of a person in words, as a target for an adapter that reads references."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..wan import WanModel
from ..wan.lora import without_lora
from ..wan.packing import predict
from .contract import AnyBatch


def described_loss(model: WanModel, batch: AnyBatch, velocities: Sequence[Tensor], weight: float) -> Tensor:
    """Weighted squared distance (B,) to the velocity that the frozen model predicts for described captions.

    It is 0 for samples without one; at a weight of 0 the model is not asked.

    Args:
        model: with LoRA or without; its LoRA takes no part.
        velocities: what was predicted of each of `batch.parts`.
        weight: of this step; see `SharedObjective.described_weight_at`.
    """
    context = batch.described
    if context is None or not weight:
        return velocities[0].new_zeros(len(batch), dtype=torch.float32)
    with torch.no_grad(), without_lora(model):
        targets = predict(model, [part.model_input for part in batch.parts], batch.noise_level, context, {})
    taught = context.abs().amax((1, 2)) > 0  # (B,)
    far = [
        (velocity.float() - target.float()).square().mean((1, 2, 3, 4))
        for velocity, target in zip(velocities, targets, strict=True)
    ]
    return weight * torch.cat(far) * taught
