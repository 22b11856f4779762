"""EVA02-CLIP's vision transformer (arXiv 2303.15389), ConsisID's eyes, with the published file's key names.

A pre-norm transformer with rotary positions by row and column, SwiGLU, and a normalisation inside of attention and of
the feed-forward layer ("sub-LN").
"""

import os

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ...errors import SlotIDError
from ...tensor_shapes import count_numbered, fill, shape_of
from ...wan.attention import dot_product_attention
from ...weights import naming, read_pth, read_tensors, with_prefix

ROTARY_SIDE = 16  # patches along a side of the pictures of its first training; others are spread over as much
ROTARY_BASE = 10_000.0
EPSILON = 1e-6
INSIDE = "visual."  # of the published file, which holds a text encoder too


class EvaAttention(nn.Module):
    """x (N, T, D) -> (N, T, D); the first token, which stands for the whole picture, is not rotated."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.q_bias, self.v_bias = (nn.Parameter(torch.zeros(width)) for _ in range(2))
        self.inner_attn_ln = nn.LayerNorm(width, EPSILON)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        projected = (self.q_proj(x) + self.q_bias, self.k_proj(x), self.v_proj(x) + self.v_bias)
        q, k, v = (rearrange(part, "n t (h d) -> n h t d", h=self.heads) for part in projected)
        attended = dot_product_attention(rotated(q, rotation), rotated(k, rotation), v)
        return self.proj(self.inner_attn_ln(rearrange(attended, "n h t d -> n t (h d)")))


class EvaMlp(nn.Module):
    """SwiGLU: x (N, T, D) -> (N, T, D)."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.w1, self.w2 = nn.Linear(width, inner), nn.Linear(width, inner)
        self.ffn_ln = nn.LayerNorm(inner, EPSILON)
        self.w3 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.w3(self.ffn_ln(F.silu(self.w1(x)) * self.w2(x)))


class EvaBlock(nn.Module):
    def __init__(self, width: int, heads: int, inner: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, EPSILON), nn.LayerNorm(width, EPSILON)
        self.attn, self.mlp = EvaAttention(width, heads), EvaMlp(width, inner)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.attn(self.norm1(x), rotation)
        return x + self.mlp(self.norm2(x))


class EvaVision(nn.Module):
    """Normalised pixels (N, 3, S, S) -> image embeddings (N, pooled width)."""

    def __init__(self, width: int, depth: int, heads: int, inner: int, patch: int, side: int, pooled_width: int):
        super().__init__()
        self.along, self.head_width = side // patch, width // heads
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, self.along**2 + 1, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.blocks = nn.ModuleList(EvaBlock(width, heads, inner) for _ in range(depth))
        self.norm = nn.LayerNorm(width, EPSILON)
        self.head = nn.Linear(width, pooled_width)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = rearrange(self.patch_embed["proj"](pixels), "n d h w -> n (h w) d")
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.pos_embed
        rotation = rotations(self.along, self.head_width, x)
        for block in self.blocks:
            x = block(x, rotation)
        return self.head(self.norm(x)[:, 0])


def rotations(along: int, head_width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin (along², head width) of each patch: the first half of a head turns by its row, the rest by its
    column, two neighbouring numbers together.
    """
    half = head_width // 2
    frequency = ROTARY_BASE ** (-torch.arange(0, half, 2, device=like.device).float() / half)
    place = torch.arange(along, device=like.device).float() * ROTARY_SIDE / along
    angle = (place[:, None] * frequency).repeat_interleave(2, dim=1)  # (along, half)
    rows, columns = angle[:, None].expand(-1, along, -1), angle[None].expand(along, -1, -1)
    both = rearrange(torch.cat([rows, columns], dim=2), "y x d -> (y x) d")
    return both.cos().to(like.dtype), both.sin().to(like.dtype)


def rotated(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """x (N, h, 1 + patches, d), turned but for the first token."""
    cos, sin = rotation
    whole, patches = x[:, :, :1], x[:, :, 1:]
    even, odd = patches.unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([-odd, even], dim=-1).flatten(-2)
    return torch.cat([whole, patches * cos + turned * sin], dim=2)


def load_eva(path: str | os.PathLike, heads: int) -> EvaVision:
    """The vision half of EVA02_CLIP_L_336_psz14_s6B.pt, as published or as safetensors; frozen, in its precision.

    Raises:
        SlotIDError: the file is missing, damaged, or of another network.
    """
    is_pickle = os.fspath(path).endswith((".pt", ".pth"))
    tensors = read_pth(path) if is_pickle else read_tensors(path)[0]
    with naming(path):
        found = with_prefix(tensors, INSIDE) or tensors
        patch_shape = shape_of(found, "patch_embed.proj.weight", 4)
        _, tokens, width = shape_of(found, "pos_embed", 3)
        inner = shape_of(found, "blocks.0.mlp.w1.weight", 2)[0]
        pooled_width = shape_of(found, "head.weight", 2)[0]
        along = round((tokens - 1) ** 0.5)
        if width % heads or (width // heads) % 4 or along**2 != tokens - 1:
            raise SlotIDError(
                f"It has width {width} and {tokens} tokens, which no EVA02-CLIP has. Choose another file."
            )
        depth = count_numbered(found, "blocks.")
        with torch.device("meta"):
            model = EvaVision(width, depth, heads, inner, patch_shape[2], patch_shape[2] * along, pooled_width)
        names = model.state_dict()  # angles of rotation, which the file holds for each block, are computed
        fill(model, {name: tensor for name, tensor in found.items() if name in names}, "an EVA02-CLIP vision network")
    return model.eval().requires_grad_(False)
