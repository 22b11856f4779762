"""Local encoder: what a vision network sees of a component becomes L tokens (LaVieID, section 3.2).

The architecture is ConsisID's local facial extractor (arXiv 2411.17440), with its published key names: a Perceiver
whose queries are L latents and a few identity tokens, and whose context changes with each level of vision features.
"""

import torch
from einops import rearrange
from torch import Tensor, nn

from ...wan.attention import dot_product_attention
from .config import EncoderConfig, VisionConfig

PLACE_NUMBERS = 3  # middle x, y and side of the component's square, in sides of the face's box


class PerceiverAttention(nn.Module):
    """Queries attend to the context and to themselves: context (N, C, D), queries (N, Q, D) -> (N, Q, D)."""

    def __init__(self, width: int, heads: int, head_width: int):
        super().__init__()
        self.heads = heads
        inner = heads * head_width
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, context: Tensor, queries: Tensor) -> Tensor:
        queries = self.norm2(queries)
        seen = torch.cat([self.norm1(context), queries], dim=1)
        q = rearrange(self.to_q(queries), "n q (h d) -> n h q d", h=self.heads)
        k, v = rearrange(self.to_kv(seen), "n c (two h d) -> two n h c d", two=2, h=self.heads)
        return self.to_out(rearrange(dot_product_attention(q, k, v), "n h q d -> n q (h d)"))


class LocalEncoder(nn.Module):
    """Levels of vision features, each (N, T, vision width), and identity (N, I) -> tokens (N, L, D).

    N counts components of all people. The identity is the face embedding, the pooled vision features of the component
    and where its square lies, in this order; see `identity_width`.
    """

    def __init__(self, config: EncoderConfig, vision: VisionConfig):
        super().__init__()
        self.config = config
        width, scale = config.width, config.width**-0.5
        self.num_levels = len(vision.levels)
        self.latents = nn.Parameter(torch.randn(1, config.num_tokens, width) * scale)
        self.proj_out = nn.Parameter(torch.randn(width, config.token_width) * scale)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    PerceiverAttention(width, config.heads, config.head_width),
                    nn.Sequential(
                        nn.LayerNorm(width),
                        nn.Linear(width, width * config.mlp_factor, bias=False),
                        nn.GELU(),
                        nn.Linear(width * config.mlp_factor, width, bias=False),
                    ),
                ]
            )
            for _ in range(config.depth)
        )
        for level in range(self.num_levels):
            self.add_module(f"mapping_{level}", _mapping(vision.width, width, width))
        self.id_embedding_mapping = _mapping(identity_width(config, vision), width, width * config.identity_tokens)

    def forward(self, levels: list[Tensor], identity: Tensor) -> Tensor:
        identity = rearrange(self.id_embedding_mapping(identity), "n (i d) -> n i d", i=self.config.identity_tokens)
        queries = torch.cat([self.latents.expand(len(identity), -1, -1), identity], dim=1)
        of_a_level = len(self.layers) // self.num_levels
        for level, features in enumerate(levels):
            context = torch.cat([identity, self.get_submodule(f"mapping_{level}")(features)], dim=1)
            for layer in list(self.layers)[level * of_a_level : (level + 1) * of_a_level]:
                attention, mlp = layer.children()
                queries = queries + attention(context, queries)
                queries = queries + mlp(queries)
        return queries[:, : self.config.num_tokens] @ self.proj_out


def identity_width(config: EncoderConfig, vision: VisionConfig) -> int:
    return config.face_width + vision.pooled_width + PLACE_NUMBERS


def _mapping(before: int, width: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(before, width), nn.LayerNorm(width), nn.LeakyReLU(),
        nn.Linear(width, width), nn.LayerNorm(width), nn.LeakyReLU(),
        nn.Linear(width, after),
    )  # fmt: skip
