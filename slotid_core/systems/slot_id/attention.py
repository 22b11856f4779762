"""Attention over a grid of patches: among themselves with 3D rotary positions (Slot-ID, section 3.2.3), and pooled."""

import torch
from einops import rearrange
from torch import Tensor, nn

from ...errors import SlotIDError
from ...wan.attention import dot_product_attention
from ...wan.rope import apply_rotary


class SpatioTemporalBlock(nn.Module):
    """Pre-norm transformer block in which every patch attends to every patch of the clip.

    tokens (B, L, D), rotary (1, L, 1, head_dim/2, 2, 2) -> (B, L, D)
    """

    def __init__(self, width: int, num_heads: int, mlp_ratio: float = 4.0):
        super().__init__()
        if width % (2 * num_heads):
            raise SlotIDError(f"The width must be an even multiple of num_heads; got {width} and {num_heads}.")
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = _mlp(width, int(width * mlp_ratio))

    def forward(self, tokens: Tensor, rotary: Tensor) -> Tensor:
        tokens = tokens + self.out(self.attend(self.attention_norm(tokens), rotary))
        return tokens + self.mlp(self.mlp_norm(tokens))

    def attend(self, tokens: Tensor, rotary: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(tokens), "b l (three h d) -> three b l h d", three=3, h=self.num_heads)
        q, k = apply_rotary(q, rotary), apply_rotary(k, rotary)
        q, k, v = (rearrange(t, "b l h d -> b h l d") for t in (q, k, v))
        return rearrange(dot_product_attention(q, k, v), "b h l d -> b l (h d)")


class AttentionPool(nn.Module):
    """K learnable queries read the patches with several heads, so that a token can hold more than one mean of them.

    tokens (B, L, D) -> (B, K, D) and the assignment (B, K, L), each patch's weights over queries, which sum to 1.
    """

    def __init__(self, num_queries: int, width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        # Logits spread by about 2 at the start: queries that all read the mean stay equal for thousands of steps.
        self.queries = nn.Parameter(4 * torch.randn(num_queries, width))
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = _mlp(width, 4 * width)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        queries = rearrange(self.queries.to(tokens.dtype), "k (h d) -> h k d", h=self.num_heads)
        keys, values = rearrange(self.key_value(tokens), "b l (two h d) -> two b h l d", two=2, h=self.num_heads)
        weights = (queries @ keys.transpose(2, 3) * queries.shape[2] ** -0.5).softmax(dim=3)  # (B, H, K, L)
        pooled = self.out(rearrange(weights @ values, "b h k d -> b k (h d)"))
        share = weights.mean(dim=1)
        return pooled + self.mlp(self.mlp_norm(pooled)), share / share.sum(dim=1, keepdim=True)


def _mlp(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))
