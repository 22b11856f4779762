"""Into which chunks the frames of latents are cut, and latents as tokens and back."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ....errors import SlotIDError
from .config import CHANNELS, PATCH


def chunk_length(frames: int, chunks: int) -> int:
    """Frames of a chunk where `frames` latent frames are cut into at most `chunks`: (T - 1) / K, rounded up.

    The first frame is in none. A remainder makes the last chunk shorter, and may leave fewer chunks: six frames after
    the first in four chunks are three of two frames. Fewer frames than chunks are chunks of one frame.
    """
    return max(1, -(-(frames - 1) // chunks))


def starts(frames: int, length: int) -> range:
    """The first frame of each chunk."""
    return range(1, frames, length)


def to_tokens(latents: Tensor) -> Tensor:
    """(B, 16, T, h, w) -> (B, T, tokens of a frame, 64). An odd side is made even by its last row or column again."""
    odd = (0, latents.shape[4] % PATCH, 0, latents.shape[3] % PATCH)
    if any(odd):
        flat = F.pad(latents.flatten(1, 2), odd, mode="replicate")
        latents = flat.unflatten(1, latents.shape[1:3])
    return rearrange(latents, "b c t (h p) (w q) -> b t (h w) (c p q)", p=PATCH, q=PATCH)


def to_latents(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `to_tokens`, for latents of this height and width."""
    latents = rearrange(
        tokens, "b t (h w) (c p q) -> b c t (h p) (w q)", h=-(-height // PATCH), p=PATCH, q=PATCH
    )  # fmt: skip
    return latents[..., :height, :width]


def check_latents(latents: Tensor) -> None:
    """
    Raises:
        SlotIDError: these are no Wan 2.1 latents of a video, or they hold NaN.
    """
    if latents.dim() != 5 or latents.shape[1] != CHANNELS or 0 in latents.shape:
        raise SlotIDError(
            f"The latents have shape {tuple(latents.shape)}, where those of a video by Wan 2.1's VAE have {CHANNELS} "
            "channels and five axes, none of them empty. Connect latents of Wan 2.1 or of Wan 2.2 14B."
        )
    if latents.shape[2] == 1:
        raise SlotIDError(
            "The latents have one frame, a picture, which has no time to refine. Connect those of a video, 5 frames or "
            "more, or leave this node out."
        )
    if not torch.isfinite(latents).all():
        raise SlotIDError(
            "The latents hold NaN or infinity. Look for the cause at the sampler: the model's "
            "precision, or a LoRA of another model."
        )
