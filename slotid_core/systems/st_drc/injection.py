"""How a reference enters a Wan transformer: its tokens, their positions and modulation, appended for all blocks.

One code for ComfyUI's model and ours, in training and in use.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ...errors import SlotIDError
from ...wan.hooks.blocks import Transformer
from ...wan.hooks.cache import RunCache
from ...wan.hooks.packed_tokens import append_packed
from ...wan.hooks.regions import TokenRegion
from ...wan.hooks.tokens import AppendedTokens, KeptKeys, TokenLoRA, append_tokens
from ...wan.model import HEAD_WIDTH, sinusoidal_embedding
from ...wan.rope import rotary_matrices
from .config import LayoutConfig

VIDEO_CHANNELS, IMAGE_CHANNELS = 16, 36  # inputs of text-to-video, and of image-to-video: video, mask, image
MASK_CHANNELS = IMAGE_CHANNELS - 2 * VIDEO_CHANNELS


class EmbeddingTransformer(Transformer, Protocol):
    """A Wan transformer, ours or ComfyUI's, with what embeds latents and noise levels."""

    patch_embedding: nn.Conv3d
    time_embedding: nn.Sequential
    time_projection: nn.Sequential


@dataclass(frozen=True)
class ReferenceCondition:
    """References for one forward pass.

    Attributes:
        latents: (B or 1, 16, R, H, W) normalised latents of R pictures, each encoded by itself.
        layout: how they stand beside the video.
        rows: (B,) 0 or 1, the rows of the batch that have the reference; None for all.
        scale: how far the video's self-attention takes the reference into account; 1 is as trained, 0 nothing.
        lora: of reference tokens alone, by block and layer.
        region: the tokens of the video that read the reference, and that it reads; None for all.
    """

    latents: Tensor
    layout: LayoutConfig
    rows: Tensor | None = None
    scale: float = 1.0
    lora: Mapping[int, Mapping[str, TokenLoRA]] = field(default_factory=dict)
    region: TokenRegion | None = None


def install_reference(
    options: dict,
    transformer: EmbeddingTransformer,
    condition: ReferenceCondition,
    grid: tuple[int, int, int],
    like: Tensor,
    cache: RunCache | None = None,
    key: Hashable = (),
) -> dict:
    """A copy of `transformer_options` under which the rows of the condition have the reference.

    Args:
        grid: tokens of the video by time, height and width. A context window has a grid of its own, and the reference
            stands behind its last frame.
        like: a tensor in whose precision and on whose device the transformer computes.
        cache: where keys and values of the reference are kept, if they are constant.
        key: names the reference and the network in the cache; the rest is added here.

    Raises:
        SlotIDError: the transformer's input is none that a reference can be put into.
    """
    if not condition.scale or (condition.rows is not None and not condition.rows.any()):
        return options
    appended, reference_grid = appended_tokens(transformer, condition, grid, like)
    kept = None
    if cache is not None and appended.is_constant and len(appended.tokens) == 1:
        kept = KeptKeys(cache, (key, id(transformer), grid, reference_grid, like.dtype))
    return append_tokens(options, transformer, appended, kept)


def install_packed(
    options: dict,
    transformer: EmbeddingTransformer,
    conditions: Sequence[ReferenceCondition],
    grids: Sequence[tuple[int, int, int]],
    like: Tensor,
) -> dict:
    """`install_reference` of packed samples: of each its condition, with a reference of its own size, and its grid."""
    appended = [
        appended_tokens(transformer, condition, grid, like)[0]
        if condition.scale and (condition.rows is None or condition.rows.any())
        else None
        for condition, grid in zip(conditions, grids, strict=True)
    ]
    return append_packed(options, transformer, appended)


def appended_tokens(
    transformer: EmbeddingTransformer, condition: ReferenceCondition, grid: tuple[int, int, int], like: Tensor
) -> tuple[AppendedTokens, tuple[int, int, int]]:
    """What is appended behind a video of this grid, and the grid of the reference."""
    layout = condition.layout
    tokens, reference_grid = embed_pictures(transformer, condition.latents, like)
    appended = AppendedTokens(
        tokens,
        reference_rotary(grid, reference_grid, layout, HEAD_WIDTH, like.device),
        clean_modulation(transformer, like) if layout.modulation == "clean" else None,
        condition.lora,
        condition.rows,
        layout.reference_attends,
        layout.reads_text,
        condition.scale,
        condition.region,
    )
    return appended, reference_grid


def reference_rotary(
    grid: tuple[int, int, int],
    reference_grid: tuple[int, int, int],
    layout: LayoutConfig,
    head_width: int,
    device: torch.device | None = None,
) -> Tensor:
    """Rotations (1, R·h·w, 1, head_width/2, 2, 2) of reference tokens in the order (picture, y, x)."""
    frames, height, width = grid
    shift = (height, width) if layout.spatial_shift else (0, 0)
    time = layout.time_of_first(frames, reference_grid[0])
    return rotary_matrices(reference_grid, head_width, device, (time, *shift))


def embed_pictures(
    transformer: EmbeddingTransformer, latents: Tensor, like: Tensor
) -> tuple[Tensor, tuple[int, int, int]]:
    """latents (B, 16, R, H, W) -> tokens (B, R·h·w, D), and (R, h, w).

    An image-to-video model gets each picture as it gets a given first frame: marked in the mask, and once more among
    the image channels. That is ours; the source has a text-to-video model only.
    """
    embedding = transformer.patch_embedding
    check_input(embedding)
    patch = embedding.kernel_size
    # ComfyUI embeds in float32 whatever it computes in afterwards; our model embeds as it computes.
    latents = latents.to(like.device, like.dtype if embedding.weight.dtype == like.dtype else torch.float32)
    latents = F.pad(latents, (0, -latents.shape[4] % patch[2], 0, -latents.shape[3] % patch[1], 0, 0), mode="circular")
    if embedding.in_channels == IMAGE_CHANNELS:
        mask = torch.ones_like(latents[:, :MASK_CHANNELS])
        latents = torch.cat([latents, mask, latents], dim=1)
    embedded = embedding(latents).to(like.dtype)  # (B, D, R, h, w)
    pictures, height, width = embedded.shape[2:]
    return rearrange(embedded, "b d r h w -> b (r h w) d"), (pictures, height, width)


def check_input(embedding: nn.Conv3d) -> None:
    """
    Raises:
        SlotIDError: a model of other input channels or patches, such as Wan 2.2 5B, Fun or camera control.
    """
    channels, patch = embedding.in_channels, tuple(embedding.kernel_size)
    if channels not in (VIDEO_CHANNELS, IMAGE_CHANNELS) or patch != (1, 2, 2):
        raise SlotIDError(
            f"A reference joins the tokens of Wan 2.1 and 2.2 14B text-to-video ({VIDEO_CHANNELS} channels) and "
            f"image-to-video ({IMAGE_CHANNELS}); this MODEL takes {channels} channels in patches of {patch}. "
            "Use one of these models."
        )


def clean_modulation(transformer: EmbeddingTransformer, like: Tensor) -> Tensor:
    """(1, 1, 6, D), the blocks' modulation at noise level 0."""
    width = cast(nn.Linear, transformer.time_embedding[0]).in_features
    time = sinusoidal_embedding(torch.zeros(1, device=like.device), width).to(like.dtype)
    modulation = transformer.time_projection(transformer.time_embedding(time))
    return rearrange(modulation, "b t (six d) -> b t six d", six=6)
