"""How the slots of an encoder read a clip. The mass of a slot is not measured, as Sinkhorn routing fixes it."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from slotid_core.systems.slot_id import TemporalIdentityEncoder

BATCH = 8


@torch.no_grad()
def behaviour(encoder: TemporalIdentityEncoder, latents: Tensor) -> dict[str, np.ndarray]:
    """Figures of each clip of latents (B, 16, T, H, W).

    Returns:
        arrays (B,): `entropy` of the slot given the patch, divided by log S: 0, one slot reads the patch; 1, all slots
        read it equally. `cosine`, the mean cosine between the tokens of two slots. `change`, the share of a patch's
        assignment that moves to other slots from one latent frame to the next. With one slot the first two are NaN.
    """
    parts = [_behaviour(encoder, part) for part in latents.split(BATCH)]
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def _behaviour(encoder: TemporalIdentityEncoder, latents: Tensor) -> dict[str, Tensor]:
    stream = encoder(latents)
    assignment = stream.assignment.double()  # (B, S, T', H', W'), sums to 1 over S
    slots = assignment.shape[1]
    entropy = torch.special.entr(assignment).sum(1).mean((1, 2, 3))
    directions = F.normalize(stream.tokens.double(), dim=2)  # (B, S, D)
    pairs = (directions @ directions.transpose(1, 2)).sum((1, 2)) - slots
    unknown = torch.full_like(entropy, torch.nan)
    return {
        "entropy": entropy / math.log(slots) if slots > 1 else unknown,
        "cosine": pairs / (slots * (slots - 1)) if slots > 1 else unknown,
        "change": 0.5 * assignment.diff(dim=2).abs().sum(1).mean((1, 2, 3)),
    }
