"""A module on latents as a sampler leaves them: the VAE's own numbers, several videos, any device."""

from collections.abc import Callable

import torch
from torch import Tensor

from ....wan.vae import LATENT_STD, normalize_latents
from .chunks import check_latents, chunk_length, to_tokens
from .module import FEED_FORWARD, TemporalModule

HELD = 8 + FEED_FORWARD  # vectors of a token that ψ holds at once, each of the module's width


def refine_sampled(
    module: TemporalModule,
    latents: Tensor,
    strength: float = 1.0,
    length: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Latents (B, 16, T, h, w) of Wan 2.1's VAE, not normalised, refined on the module's device one video at a time.

    What the module does not change, such as the first frame, stays as it is to the bit.

    Args:
        strength, length: as for `TemporalModule.refine`.
        progress: called with the chunks done and their number, over all videos.

    Raises:
        SlotIDError: as `TemporalModule.refine`.
    """
    if not strength:
        return latents
    check_latents(latents)
    device = next(module.parameters()).device
    scale = torch.tensor(LATENT_STD, device=device).view(1, -1, 1, 1, 1)
    rows = []
    for number, row in enumerate(latents.split(1)):

        def report(done: int, total: int, number: int = number) -> None:
            if progress is not None:
                progress(number * total + done, len(latents) * total)

        normalised = normalize_latents(row.to(device, torch.float32))
        change = (module.refine(normalised, strength, length, report) - normalised) * scale
        rows.append(row + change.to(row.device, row.dtype))
    return torch.cat(rows)


def held_bytes(module: TemporalModule, latents: Tensor, length: int = 0) -> int:
    """About what refining holds at once beside the weights, in bytes."""
    config = module.config
    length = length or config.length or chunk_length(latents.shape[2], config.chunks)
    tokens = to_tokens(latents[:1, :, :1]).shape[2] * (1 + min(length, latents.shape[2]))
    return 4 * HELD * tokens * config.width
