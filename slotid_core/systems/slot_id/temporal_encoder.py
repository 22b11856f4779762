"""The Temporal ID Encoder: reference-clip latents to identity slots (Slot-ID, sections 3.2.1 and 3.2.3)."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from einops import rearrange
from torch import Tensor, nn

from ...errors import SlotIDError
from ...ranges import Count, Layers, Patch, Width, check_ranges
from ...wan.rope import rotary_matrices
from .attention import SpatioTemporalBlock
from .slot_reader import SlotReader, SlotReaderConfig
from .stream import IdentityStream

Architecture = Literal["slots", "mean_latent", "conv_pool", "factors"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)


@dataclass(frozen=True)
class TemporalEncoderConfig:
    """`model_width` is the video model's width (1536 for Wan 1.3B, 5120 for 14B); `width` is the encoder's own.

    `architecture`: "slots" is the paper's; the others are what it is compared with, see `baselines`.
    `latent_channels`: of the clip's latents; with "factors" the number of factors.
    """

    model_width: Width
    architecture: Architecture = "slots"
    latent_channels: Count = 16
    patch_size: tuple[Patch, Patch, Patch] = (1, 2, 2)
    width: Width = 1024
    num_layers: Layers = 2
    num_heads: Count = 16
    global_width: Width = 1024
    temporal_differences: bool = True
    reader: SlotReaderConfig = field(default_factory=SlotReaderConfig)

    __post_init__ = check_ranges


class TemporalIdentityEncoder(nn.Module):
    """Reference latents (B, C, T, H, W), normalised by Wan's per-channel mean and std -> `IdentityStream`.

    `temperature` belongs to the checkpoint: training anneals it by step, inference uses the stored value.
    """

    def __init__(self, config: TemporalEncoderConfig):
        super().__init__()
        self.config = config
        self.temperature = 1.0
        channels = config.latent_channels * (2 if config.temporal_differences else 1)
        self.patch_embedding = nn.Conv3d(channels, config.width, config.patch_size, config.patch_size)
        self.blocks = nn.ModuleList(
            SpatioTemporalBlock(config.width, config.num_heads) for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.reader = SlotReader(config.reader, config.width)
        self.readout = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, config.model_width))
        self.global_readout = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, config.global_width))

    def forward(self, latents: Tensor) -> IdentityStream:
        check_latents(latents, self.config.latent_channels, self.config.patch_size)
        volume = (
            torch.cat([latents, temporal_difference(latents)], dim=1) if self.config.temporal_differences else latents
        )
        tokens = self.patch_embedding(volume)
        grid = tokens.shape[2:]  # (T', H', W')
        tokens = rearrange(tokens, "b d t h w -> b (t h w) d")
        rotary = rotary_matrices(grid, self.config.width // self.config.num_heads, device=latents.device)
        for block in self.blocks:
            tokens = block(tokens, rotary)
        tokens = self.norm(tokens)
        slots, assignment = self.reader(tokens, self.temperature)
        return IdentityStream(
            tokens=self.readout(slots),
            global_vector=self.global_readout(tokens.mean(dim=1)),
            assignment=assignment.unflatten(2, tuple(grid)),
        )


def temporal_difference(latents: Tensor) -> Tensor:
    """ΔZ of section 3.2.1: each frame minus the one before it, zero at the first. (B, C, T, H, W), same shape."""
    difference = latents.diff(dim=2)
    return torch.cat([torch.zeros_like(latents[:, :, :1]), difference], dim=2)


def check_latents(latents: Tensor, channels: int, patch_size: tuple[int, ...]) -> None:
    """Raise a readable error on latents that the encoder cannot take."""
    if latents.dim() != 5 or latents.shape[1] != channels:
        raise SlotIDError(
            f"Reference latents must be (B, {channels}, T, H, W), as the Wan 2.1 VAE gives them; "
            f"got {tuple(latents.shape)}. Encode the reference with the VAE that the adapter was trained with."
        )
    for name, size, patch in zip(("frames", "height", "width"), latents.shape[2:], patch_size, strict=True):
        if size < patch or size % patch:
            raise SlotIDError(
                f"Reference latents have {name} {size}, which is not a multiple of the patch size {patch}. "
                f"Use a reference whose pixel height and width are multiples of {8 * patch_size[-1]}."
            )
    if not torch.isfinite(latents).all():
        raise SlotIDError(
            "Reference latents hold NaN or infinity. Encode the reference again; "
            "if it was in half precision, start ComfyUI with --fp32-vae."
        )
