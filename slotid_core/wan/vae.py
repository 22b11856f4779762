"""Wan 2.1's video VAE in plain PyTorch, read by the published keys.

Training and dataset preparation run where no ComfyUI is. ComfyUI walks through a clip in chunks and caches what
causal convolutions need from the past; here the whole clip goes through at once, which gives the same numbers:
a causal convolution pads the past with zeros, time is halved by a strided convolution that leaves the first frame
alone, and doubled by one that does not see the first frame.
"""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..errors import SlotIDError
from ..tensor_shapes import fill, floats, shape_of

# Mean and standard deviation of each latent channel; the video model sees latents with these taken out.
LATENT_MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)  # fmt: skip
LATENT_STD = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)  # fmt: skip


def _per_channel(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device, dtype=like.dtype).view(1, -1, 1, 1, 1)


def normalize_latents(latents: Tensor) -> Tensor:
    """VAE output (B, 16, T, H, W) -> latents of mean 0 and std 1, as the video model and the encoders take them."""
    return (latents - _per_channel(LATENT_MEAN, latents)) / _per_channel(LATENT_STD, latents)


def denormalize_latents(latents: Tensor) -> Tensor:
    """The inverse of `normalize_latents`."""
    return latents * _per_channel(LATENT_STD, latents) + _per_channel(LATENT_MEAN, latents)


@dataclass(frozen=True)
class WanVAEConfig:
    """`width` is 96 in the published file; the rest is the same in every Wan 2.1 VAE."""

    width: int = 96
    latent_channels: int = 16
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    halve_time: tuple[bool, ...] = (False, True, True)
    blocks_per_level: int = 2

    @classmethod
    def from_state_dict(cls, state_dict: dict[str, Tensor]) -> "WanVAEConfig":
        if "decoder.head.0.gamma" not in state_dict:
            raise SlotIDError("This is not a Wan 2.1 VAE: it lacks 'decoder.head.0.gamma'. Give the file of that VAE.")
        return cls(width=shape_of(state_dict, "decoder.head.0.gamma", 4)[0])


class CausalConv3d(nn.Conv3d):
    """3D convolution that sees the present and the past only; before the first frame there is zero."""

    padding: tuple[int, int, int]  # numbers here, never the name of a mode, which `nn.Conv3d` also takes

    def forward(self, x: Tensor) -> Tensor:
        past = 2 * self.padding[0]
        if x.shape[2] == 1 and past == self.kernel_size[0] - 1:
            # A single frame meets only the last temporal slice, so a 2D convolution gives the same at a third.
            out = F.conv2d(x.squeeze(2), self.weight[:, :, -1], self.bias, padding=self.padding[1:])
            return out.unsqueeze(2)
        padded = F.pad(x, (0, 0, 0, 0, past, 0))
        padding = (0, *self.padding[1:])
        if by_onednn(padded):
            return torch.ops.aten.mkldnn_convolution(
                padded, self.weight, self.bias, padding, self.stride, self.dilation, self.groups
            )
        return F.conv3d(padded, self.weight, self.bias, self.stride, padding)


def by_onednn(x: Tensor) -> bool:
    """Whether to ask for oneDNN's convolution by name. For a single small clip on a CPU PyTorch chooses a plain loop,
    which takes ten times as long."""
    plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return plain and torch.backends.mkldnn.is_available()


class RMSNorm(nn.Module):
    """Unit length over channels, times √C and a learned gain. x (B, C, ...)."""

    def __init__(self, channels: int, num_spatial: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *([1] * num_spatial)))

    def forward(self, x: Tensor) -> Tensor:
        # F.normalize gives the same, but its norm over channels is slow on CPUs: a sixth of a training step.
        length = x.float().square().sum(1, keepdim=True).clamp_min(1e-12).sqrt().to(x.dtype)
        return x / length * (self.gamma * x.shape[1] ** 0.5)


class ResidualBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.residual = nn.Sequential(
            RMSNorm(in_channels, 3),
            nn.SiLU(),
            CausalConv3d(in_channels, out_channels, 3, padding=1),
            RMSNorm(out_channels, 3),
            nn.SiLU(),
            nn.Dropout(0.0),
            CausalConv3d(out_channels, out_channels, 3, padding=1),
        )
        self.shortcut = CausalConv3d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(x) + self.shortcut(x)


class FrameAttention(nn.Module):
    """Single-head attention within each frame. x (B, C, T, H, W), same shape."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = RMSNorm(channels, 2)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        frames, height = x.shape[2], x.shape[3]
        q, k, v = self.to_qkv(self.norm(rearrange(x, "b c t h w -> (b t) c h w"))).chunk(3, dim=1)
        q, k, v = (rearrange(part, "n c h w -> n 1 (h w) c") for part in (q, k, v))
        out = rearrange(F.scaled_dot_product_attention(q, k, v), "n 1 (h w) c -> n c h w", h=height)
        return x + rearrange(self.proj(out), "(b t) c h w -> b c t h w", t=frames)


class Downsample(nn.Module):
    """Halves height and width and, with `time`, the frames after the first."""

    def __init__(self, channels: int, time: bool):
        super().__init__()
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(channels, channels, 3, stride=2))
        self.time_conv = nn.Conv3d(channels, channels, (3, 1, 1), stride=(2, 1, 1)) if time else None

    def forward(self, x: Tensor) -> Tensor:
        x = _per_frame(self.resample, x)
        if self.time_conv is None or x.shape[2] == 1:
            return x
        return torch.cat([x[:, :, :1], self.time_conv(x)], dim=2)


class Upsample(nn.Module):
    """Doubles height and width, halves the channels and, with `time`, doubles the frames after the first."""

    def __init__(self, channels: int, time: bool):
        super().__init__()
        self.resample = nn.Sequential(
            nn.Upsample(scale_factor=(2.0, 2.0), mode="nearest-exact"),
            nn.Conv2d(channels, channels // 2, 3, padding=1),
        )
        self.time_conv = CausalConv3d(channels, 2 * channels, (3, 1, 1), padding=(1, 0, 0)) if time else None

    def forward(self, x: Tensor) -> Tensor:
        if self.time_conv is not None and x.shape[2] > 1:
            later = rearrange(self.time_conv(x[:, :, 1:]), "b (two c) t h w -> b c (t two) h w", two=2)
            x = torch.cat([x[:, :, :1], later], dim=2)
        return _per_frame(self.resample, x)


class Encoder(nn.Module):
    def __init__(self, config: WanVAEConfig):
        super().__init__()
        widths = [config.width * multiplier for multiplier in (1, *config.multipliers)]
        self.conv1 = CausalConv3d(3, widths[0], 3, padding=1)
        layers: list[nn.Module] = []
        for level, (width, next_width) in enumerate(itertools.pairwise(widths)):
            for block in range(config.blocks_per_level):
                layers.append(ResidualBlock(width if block == 0 else next_width, next_width))
            if level < len(config.halve_time):
                layers.append(Downsample(next_width, config.halve_time[level]))
        self.downsamples = nn.Sequential(*layers)
        self.middle = _middle(widths[-1])
        self.head = _head(widths[-1], 2 * config.latent_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.downsamples(self.conv1(x))))


class Decoder(nn.Module):
    def __init__(self, config: WanVAEConfig):
        super().__init__()
        multipliers = config.multipliers[::-1]
        widths = [config.width * multiplier for multiplier in (multipliers[0], *multipliers)]
        double_time = config.halve_time[::-1]
        self.conv1 = CausalConv3d(config.latent_channels, widths[0], 3, padding=1)
        self.middle = _middle(widths[0])
        layers: list[nn.Module] = []
        for level, (width, next_width) in enumerate(itertools.pairwise(widths)):
            width = width if level == 0 else width // 2  # the upsampling before has halved the channels
            for block in range(config.blocks_per_level + 1):
                layers.append(ResidualBlock(width if block == 0 else next_width, next_width))
            if level < len(double_time):
                layers.append(Upsample(next_width, double_time[level]))
        self.upsamples = nn.Sequential(*layers)
        self.head = _head(widths[-1], 3)

    def forward(self, z: Tensor) -> Tensor:
        return self.head(self.upsamples(self.middle(self.conv1(z))))


class WanVAE(nn.Module):
    """Pixels (B, 3, T, H, W) in [-1, 1] to latents (B, 16, (T+3)/4, H/8, W/8) and back; T is 4n+1."""

    def __init__(self, config: WanVAEConfig | None = None):
        super().__init__()
        self.config = config or WanVAEConfig()
        channels = self.config.latent_channels
        self.encoder = Encoder(self.config)
        self.conv1 = CausalConv3d(2 * channels, 2 * channels, 1)
        self.conv2 = CausalConv3d(channels, channels, 1)
        self.decoder = Decoder(self.config)

    @classmethod
    def from_state_dict(cls, state_dict: dict[str, Tensor]) -> "WanVAE":
        """Frozen, in float32.

        Raises:
            SlotIDError: these are not the tensors of a Wan 2.1 VAE.
        """
        with torch.device("meta"):
            vae = cls(WanVAEConfig.from_state_dict(state_dict))
        fill(vae, floats(state_dict), "a Wan 2.1 VAE")
        return vae.eval().requires_grad_(False)

    def encode(self, pixels: Tensor) -> Tensor:
        """The posterior's mean, not normalised; see `normalize_latents`."""
        if (pixels.shape[2] - 1) % 4:
            raise SlotIDError(f"The VAE takes 4n+1 frames; got {pixels.shape[2]}.")
        return self.conv1(self.encoder(pixels)).chunk(2, dim=1)[0]

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(self.conv2(latents))


def _middle(width: int) -> nn.Sequential:
    return nn.Sequential(ResidualBlock(width, width), FrameAttention(width), ResidualBlock(width, width))


def _head(width: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(RMSNorm(width, 3), nn.SiLU(), CausalConv3d(width, out_channels, 3, padding=1))


def _per_frame(module: nn.Module, x: Tensor) -> Tensor:
    frames = x.shape[2]
    return rearrange(module(rearrange(x, "b c t h w -> (b t) c h w")), "(b t) c h w -> b c t h w", t=frames)
