"""Spatio-temporal self-attention over a grid of patches, with 3D rotary positions (Slot-ID, section 3.2.3)."""

from einops import rearrange
from torch import Tensor, nn

from ..errors import SlotIDError
from ..wan.attention import dot_product_attention
from ..wan.rope import apply_rotary


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
        hidden = int(width * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))

    def forward(self, tokens: Tensor, rotary: Tensor) -> Tensor:
        tokens = tokens + self.out(self.attend(self.attention_norm(tokens), rotary))
        return tokens + self.mlp(self.mlp_norm(tokens))

    def attend(self, tokens: Tensor, rotary: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(tokens), "b l (three h d) -> three b l h d", three=3, h=self.num_heads)
        q, k = apply_rotary(q, rotary), apply_rotary(k, rotary)
        q, k, v = (rearrange(t, "b l h d -> b h l d") for t in (q, k, v))
        return rearrange(dot_product_attention(q, k, v), "b h l d -> b l (h d)")
