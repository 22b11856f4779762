"""Face embedding to identity tokens: a Perceiver resampler (Lynx, section 3.1), with the published key names."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from ...errors import SlotIDError
from ...ranges import Count, Layers, Width, check_ranges
from ...tensor_shapes import count_numbered, shape_of
from ...wan.attention import dot_product_attention

HEAD_WIDTH = 64


@dataclass(frozen=True)
class ResamplerConfig:
    """The defaults are those of the published full resampler; the lite one has `output_width` 2048."""

    width: Width = 1280
    depth: Layers = 4
    num_heads: Count = 20
    num_tokens: Count = 16
    face_width: Width = 512
    output_width: Width = 5120
    mlp_width: Width = 5120

    __post_init__ = check_ranges

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
            width=shape_of(tensors, "latents", 3)[2],
            depth=count_numbered(tensors, "layers."),
            num_heads=shape_of(tensors, "layers.0.0.to_q.weight", 2)[0] // HEAD_WIDTH,
            num_tokens=shape_of(tensors, "latents", 3)[1],
            face_width=shape_of(tensors, "proj_in.weight", 2)[1],
            output_width=shape_of(tensors, "proj_out.weight", 2)[0],
            mlp_width=shape_of(tensors, "layers.0.1.1.weight", 2)[0],
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
        return self.to_out(rearrange(dot_product_attention(q, k, v), "b h n d -> b n (h d)"))


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
