"""Face embedding to identity tokens: a Perceiver resampler (Lynx, section 3.1), with the published key names."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ...errors import SlotIDError

HEAD_WIDTH = 64


@dataclass(frozen=True)
class ResamplerConfig:
    """The defaults are those of the published full resampler; the lite one has `output_width` 2048."""

    width: int = 1280
    depth: int = 4
    num_heads: int = 20
    num_tokens: int = 16
    face_width: int = 512
    output_width: int = 5120
    mlp_width: int = 5120

    @classmethod
    def from_state_dict(cls, tensors: Mapping[str, Tensor]) -> "ResamplerConfig":
        """Read the shape off a file's tensors.

        Raises:
            SlotIDError: these are not a resampler's.
        """
        missing = [key for key in ("latents", "proj_in.weight", "layers.0.0.to_q.weight") if key not in tensors]
        if missing:
            raise SlotIDError(
                f"This is no Lynx resampler: it lacks {', '.join(map(repr, missing))}. Choose the file called "
                "resampler.safetensors, or lynx_full_resampler or lynx_lite_resampler."
            )
        return cls(
            width=tensors["latents"].shape[2],
            depth=1 + max(int(key.split(".")[1]) for key in tensors if key.startswith("layers.")),
            num_heads=tensors["layers.0.0.to_q.weight"].shape[0] // HEAD_WIDTH,
            num_tokens=tensors["latents"].shape[1],
            face_width=tensors["proj_in.weight"].shape[1],
            output_width=tensors["proj_out.weight"].shape[0],
            mlp_width=tensors["layers.0.1.1.weight"].shape[0],
        )


class PerceiverAttention(nn.Module):
    """Latents attend to the face and to themselves: face (B, F, D), latents (B, N, D) -> (B, N, D)."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        inner = num_heads * HEAD_WIDTH
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, face: Tensor, latents: Tensor) -> Tensor:
        latents = self.norm2(latents)
        seen = torch.cat([self.norm1(face), latents], dim=1)
        q = rearrange(self.to_q(latents), "b n (h d) -> b h n d", h=self.num_heads)
        k, v = rearrange(self.to_kv(seen), "b n (two h d) -> two b h n d", two=2, h=self.num_heads)
        return self.to_out(rearrange(F.scaled_dot_product_attention(q, k, v), "b h n d -> b n (h d)"))


class Resampler(nn.Module):
    """face (B, F, face_width), usually F = 1 -> identity tokens (B, num_tokens, output_width)."""

    def __init__(self, config: ResamplerConfig):
        super().__init__()
        self.config = config
        width, mlp_width = config.width, config.mlp_width
        self.latents = nn.Parameter(torch.randn(1, config.num_tokens, width) / width**0.5)
        self.proj_in = nn.Linear(config.face_width, width)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    PerceiverAttention(width, config.num_heads),
                    nn.Sequential(
                        nn.LayerNorm(width),
                        nn.Linear(width, mlp_width, bias=False),
                        nn.GELU(),
                        nn.Linear(mlp_width, width, bias=False),
                    ),
                ]
            )
            for _ in range(config.depth)
        )
        self.proj_out = nn.Linear(width, config.output_width)
        self.norm_out = nn.LayerNorm(config.output_width)

    def forward(self, face: Tensor) -> Tensor:
        latents = self.latents.expand(face.shape[0], -1, -1)
        face = self.proj_in(face)
        for layer in self.layers:
            attention, mlp = layer.children()
            latents = latents + attention(face, latents)
            latents = latents + mlp(latents)
        return self.norm_out(self.proj_out(latents))
