"""The image stream: a background-free portrait to K anchor tokens (Slot-ID, section 3.2.2).

The paper says that the portrait's latents are "projected into K tokens" and no more. Here attention mixes the patches,
and K learnable queries read them with several heads: where the noise is high, these K tokens are all that is known of
the person, and single-headed ones turned out to be one mean, twice.
"""

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor, nn

from ...ranges import Count, Layers, Patch, Width, check_ranges
from ...wan.rope import rotary_matrices
from .attention import AttentionPool, SpatioTemporalBlock
from .stream import IdentityStream
from .temporal_encoder import check_latents


@dataclass(frozen=True)
class ImageAnchorConfig:
    model_width: Width
    latent_channels: Count = 16
    patch_size: tuple[Patch, Patch, Patch] = (1, 2, 2)
    width: Width = 1024
    num_layers: Layers = 1
    num_heads: Count = 16
    num_anchors: Count = 2
    global_width: Width = 1024

    __post_init__ = check_ranges


class ImageAnchor(nn.Module):
    """Portrait latents (B, C, 1, H, W), normalised as Wan's -> `IdentityStream` with K tokens."""

    def __init__(self, config: ImageAnchorConfig):
        super().__init__()
        self.config = config
        self.patch_embedding = nn.Conv3d(config.latent_channels, config.width, config.patch_size, config.patch_size)
        self.blocks = nn.ModuleList(
            SpatioTemporalBlock(config.width, config.num_heads) for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.pool = AttentionPool(config.num_anchors, config.width, config.num_heads)
        self.readout = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, config.model_width))
        self.global_readout = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, config.global_width))

    def forward(self, latents: Tensor) -> IdentityStream:
        check_latents(latents, self.config.latent_channels, self.config.patch_size)
        tokens = self.patch_embedding(latents)
        grid = tokens.shape[2:]
        tokens = rearrange(tokens, "b d t h w -> b (t h w) d")
        rotary = rotary_matrices(grid, self.config.width // self.config.num_heads, device=latents.device)
        for block in self.blocks:
            tokens = block(tokens, rotary)
        tokens = self.norm(tokens)
        anchors, assignment = self.pool(tokens)
        return IdentityStream(
            tokens=self.readout(anchors),
            global_vector=self.global_readout(tokens.mean(dim=1)),
            assignment=assignment.unflatten(2, tuple(grid)),
        )
