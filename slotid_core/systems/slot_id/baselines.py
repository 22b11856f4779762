"""What the temporal encoder is compared with: the same sockets, without slots.

Two answer whether routing and temporal attention are worth their cost, or any summary of the clip would do. The third
reads no clip: it is told who a drawn person is, and says what the injection and the base can learn from a perfect
encoder in the same number of steps.
"""

import torch
from einops import rearrange
from torch import Tensor, nn

from ...errors import SlotIDError
from .stream import IdentityStream
from .temporal_encoder import TemporalEncoderConfig, check_latents, temporal_difference


class MeanLatentEncoder(nn.Module):
    """The mean of the reference latents over time and space, through a small network, as the identity tokens."""

    temperature = 1.0

    def __init__(self, config: TemporalEncoderConfig):
        super().__init__()
        self.config = config
        self.network = nn.Sequential(
            nn.Linear(config.latent_channels, config.width), nn.GELU(), nn.Linear(config.width, config.width)
        )
        self.readout, self.global_readout = _readouts(config)

    def forward(self, latents: Tensor) -> IdentityStream:
        check_latents(latents, self.config.latent_channels, self.config.patch_size)
        return _stream(self, self.network(latents.mean((2, 3, 4))), patches_of(latents, self.config))


class ConvPoolEncoder(nn.Module):
    """Latents and their differences through 3D convolutions, pooled: time without attention or routing."""

    temperature = 1.0

    def __init__(self, config: TemporalEncoderConfig):
        super().__init__()
        self.config = config
        channels = config.latent_channels * (2 if config.temporal_differences else 1)
        self.patch_embedding = nn.Conv3d(channels, config.width, config.patch_size, config.patch_size)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.GroupNorm(1, config.width), nn.SiLU(), nn.Conv3d(config.width, config.width, 3, padding=1)
                )
                for _ in range(config.num_layers)
            )
        )
        self.readout, self.global_readout = _readouts(config)

    def forward(self, latents: Tensor) -> IdentityStream:
        check_latents(latents, self.config.latent_channels, self.config.patch_size)
        parts = [latents, temporal_difference(latents)] if self.config.temporal_differences else [latents]
        features = self.layers(self.patch_embedding(torch.cat(parts, dim=1)))
        return _stream(self, features.mean((2, 3, 4)), patches_of(latents, self.config))


class FactorEncoder(nn.Module):
    """The oracle: true factors (B, F) of drawn people, through a small network, as the identity tokens."""

    temperature = 1.0

    def __init__(self, config: TemporalEncoderConfig):
        super().__init__()
        self.config = config
        self.network = nn.Sequential(
            nn.Linear(config.latent_channels, config.width), nn.GELU(),
            nn.Linear(config.width, config.width), nn.GELU(),
        )  # fmt: skip
        self.readout, self.global_readout = _readouts(config)

    def forward(self, factors: Tensor) -> IdentityStream:
        if factors.dim() != 2 or factors.shape[1] != self.config.latent_channels:
            raise SlotIDError(
                f"This adapter reads {self.config.latent_channels} true factors of drawn people, (B, F); got "
                f"{tuple(factors.shape)}. It is there for measurement: choose another adapter to read clips."
            )
        return _stream(self, self.network(factors), (1, 1, 1))


def _readouts(config: TemporalEncoderConfig) -> tuple[nn.Sequential, nn.Sequential]:
    tokens = config.reader.num_slots * config.model_width
    return (
        nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, tokens)),
        nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, config.global_width)),
    )


def patches_of(latents: Tensor, config: TemporalEncoderConfig) -> tuple[int, ...]:
    return tuple(size // patch for size, patch in zip(latents.shape[2:], config.patch_size, strict=True))


def _stream(
    encoder: MeanLatentEncoder | ConvPoolEncoder | FactorEncoder, summary: Tensor, grid: tuple[int, ...]
) -> IdentityStream:
    """summary (B, width) -> a stream; every patch of the grid speaks for every token alike."""
    slots = encoder.config.reader.num_slots
    return IdentityStream(
        tokens=rearrange(encoder.readout(summary), "b (s d) -> b s d", s=slots),
        global_vector=encoder.global_readout(summary),
        assignment=summary.new_full((len(summary), slots, *grid), 1 / slots),
    )
