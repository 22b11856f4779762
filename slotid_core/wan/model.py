"""Wan's video diffusion transformer in plain PyTorch.

Training's backbone: it needs no ComfyUI, keeps autograd everywhere, and reads the published Wan 2.1 and 2.2
checkpoints (T2V and I2V) by their own keys. Blocks can be replaced per call with the same protocol as
ComfyUI's model (`transformer_options["patches_replace"]["dit"][("double_block", i)]`), so what conditions one
conditions the other.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..errors import SlotIDError
from ..tensor_shapes import count_numbered, shape_of
from .attention import dot_product_attention
from .packing import Packing, noting, noting_sample, packing_of
from .rope import apply_rotary, rotary_matrices
from .sequence import SequenceGroup, sequence_of, sharing

CLIP_WIDTH = 1280
TEXT_ROWS = 512
HEAD_WIDTH = 128
# Under this key the options of an attention override say which attention of the block is computed.
ATTENTION_KIND = "attention_kind"
SELF_ATTENTION, TEXT_ATTENTION, IMAGE_ATTENTION = "self", "text", "image"


@dataclass(frozen=True)
class WanConfig:
    """Shape of a Wan transformer. The defaults are those shared by every published size."""

    dim: int = 1536
    ffn_dim: int = 8960
    num_layers: int = 30
    num_heads: int = 12
    in_dim: int = 16
    out_dim: int = 16
    text_dim: int = 4096
    freq_dim: int = 256
    patch_size: tuple[int, int, int] = (1, 2, 2)
    eps: float = 1e-6
    has_image_tokens: bool = False

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Tensor]) -> "WanConfig":
        """Read the shape off a checkpoint, as ComfyUI does (head width is 128 in every published size).

        Raises:
            SlotIDError: it is none of Wan, or its tensors cannot be one's.
        """
        if "head.modulation" not in state_dict or "blocks.0.self_attn.q.weight" not in state_dict:
            raise SlotIDError(
                "This is not a Wan diffusion checkpoint: it lacks 'head.modulation' or the transformer blocks. "
                "Give the file of a Wan 2.1 or 2.2 diffusion model."
            )
        dim = shape_of(state_dict, "head.modulation", 3)[2]
        out_dim = shape_of(state_dict, "head.head.weight", 2)[0] // 4
        if dim % HEAD_WIDTH or not out_dim:
            raise SlotIDError(
                f"A Wan model's width is a multiple of {HEAD_WIDTH}, and its output has at least 4 numbers; this has "
                f"width {dim} and {4 * out_dim}. Give the file of a Wan 2.1 or 2.2 diffusion model."
            )
        return cls(
            dim=dim,
            ffn_dim=shape_of(state_dict, "blocks.0.ffn.0.weight", 2)[0],
            num_layers=count_numbered(state_dict, "blocks."),
            num_heads=dim // HEAD_WIDTH,
            in_dim=shape_of(state_dict, "patch_embedding.weight", 5)[1],
            out_dim=out_dim,
            text_dim=shape_of(state_dict, "text_embedding.0.weight", 2)[1],
            freq_dim=shape_of(state_dict, "time_embedding.0.weight", 2)[1],
            has_image_tokens="img_emb.proj.0.bias" in state_dict,
        )


WAN_1_3B = WanConfig()
WAN_14B = WanConfig(dim=5120, ffn_dim=13824, num_layers=40, num_heads=40)


class SelfAttention(nn.Module):
    def __init__(self, config: WanConfig):
        super().__init__()
        self.num_heads = config.num_heads
        self.q = nn.Linear(config.dim, config.dim)
        self.k = nn.Linear(config.dim, config.dim)
        self.v = nn.Linear(config.dim, config.dim)
        self.o = nn.Linear(config.dim, config.dim)
        self.norm_q = nn.RMSNorm(config.dim, eps=config.eps)
        self.norm_k = nn.RMSNorm(config.dim, eps=config.eps)

    def attend(
        self, kind: str, q: Tensor, k: Tensor, v: Tensor, transformer_options: Mapping, key_bias: Tensor | None = None
    ) -> Tensor:
        """q (B, N, D), k and v (B, M, D), key_bias (M,) added to the logits -> (B, N, D).

        Of B packed samples: q (1, N, D), k and v like q or (B, M, D), a row for each sample.
        """
        packing = packing_of(transformer_options)
        if packing is not None:
            return self.attend_packed(packing, kind, q, k, v, transformer_options, key_bias)
        return self.attend_rows(kind, q, k, v, transformer_options, key_bias)

    def attend_packed(
        self, packing: Packing, kind: str, q: Tensor, k: Tensor, v: Tensor, options: Mapping, key_bias: Tensor | None
    ) -> Tensor:
        """Each sample by itself: no masked logit is computed, and whatever overrides the attention sees one sample."""
        keys, values = (packing.split(t) if kind == SELF_ATTENTION else t.split(1) for t in (k, v))
        parts = zip(packing.split(q), keys, values, strict=True)
        return torch.cat(
            [
                self.attend_rows(kind, *part, noting_sample(dict(options), sample), key_bias)
                for sample, part in enumerate(parts)
            ],
            dim=1,
        )

    def attend_rows(
        self, kind: str, q: Tensor, k: Tensor, v: Tensor, transformer_options: Mapping, key_bias: Tensor | None
    ) -> Tensor:
        sequence = sequence_of(transformer_options) if kind == SELF_ATTENTION else None

        def by_heads(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
            q, k, v = (rearrange(t, "b n (h d) -> b h n d", h=heads) for t in (q, k, v))
            bias = None if key_bias is None else key_bias.to(q.dtype).view(1, 1, 1, -1)
            return rearrange(dot_product_attention(q, k, v, bias), "b h n d -> b n (h d)")

        def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, **kwargs) -> Tensor:
            return by_heads(q, k, v, heads) if sequence is None else sequence.attend(by_heads, q, k, v, heads)

        override = transformer_options.get("optimized_attention_override")
        if override is None:
            return attention(q, k, v, self.num_heads)
        options = {**transformer_options, ATTENTION_KIND: kind}
        return override(attention, q, k, v, heads=self.num_heads, transformer_options=options)

    def forward(self, x: Tensor, rotary: Tensor, transformer_options: Mapping) -> Tensor:
        q = apply_rotary(rearrange(self.norm_q(self.q(x)), "b n (h d) -> b n h d", h=self.num_heads), rotary)
        k = apply_rotary(rearrange(self.norm_k(self.k(x)), "b n (h d) -> b n h d", h=self.num_heads), rotary)
        return self.o(self.attend(SELF_ATTENTION, q.flatten(2), k.flatten(2), self.v(x), transformer_options))


class CrossAttention(SelfAttention):
    """Video tokens attend to text tokens; on I2V models also, separately, to the image tokens in front."""

    def __init__(self, config: WanConfig):
        super().__init__(config)
        if config.has_image_tokens:
            self.k_img = nn.Linear(config.dim, config.dim)
            self.v_img = nn.Linear(config.dim, config.dim)
            self.norm_k_img = nn.RMSNorm(config.dim, eps=config.eps)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        num_image_tokens: int,
        padding_row: int | None,
        transformer_options: Mapping,
    ) -> Tensor:
        image, text = context[:, :num_image_tokens], context[:, num_image_tokens:]
        key_bias = None if padding_row is None else padding_bias(padding_row, text.shape[1], text.device)
        q = self.norm_q(self.q(x))
        out = self.attend(TEXT_ATTENTION, q, self.norm_k(self.k(text)), self.v(text), transformer_options, key_bias)
        if num_image_tokens:
            keys, values = self.norm_k_img(self.k_img(image)), self.v_img(image)
            out = out + self.attend(IMAGE_ATTENTION, q, keys, values, transformer_options)
        return self.o(out)


class Block(nn.Module):
    def __init__(self, config: WanConfig):
        super().__init__()
        dim, eps = config.dim, config.eps
        self.norm1 = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.self_attn = SelfAttention(config)
        self.norm3 = nn.LayerNorm(dim, eps)
        self.cross_attn = CrossAttention(config)
        self.norm2 = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.ffn = nn.Sequential(
            nn.Linear(dim, config.ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(config.ffn_dim, dim)
        )
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        time: Tensor,
        rotary: Tensor,
        num_image_tokens: int,
        padding_row: int | None = None,
        transformer_options: Mapping = MappingProxyType({}),
    ) -> Tensor:
        """x (B, N, D), context (B, M, D), time (B, 1 or frames, 6, D), rotary (1, N, 1, d/2, 2, 2).

        Of B packed samples: x (1, N, D), context (B, M, D), time (1, B, 6, D).
        """
        packing = packing_of(dict(transformer_options))
        shift1, scale1, gate1, shift2, scale2, gate2 = per_token(self.modulation + time, x, packing)
        x = x + gate1 * self.self_attn(shift1 + self.norm1(x) * (1 + scale1), rotary, transformer_options)
        x = x + self.cross_attn(self.norm3(x), context, num_image_tokens, padding_row, transformer_options)
        return x + gate2 * self.ffn(shift2 + self.norm2(x) * (1 + scale2))


class Head(nn.Module):
    def __init__(self, config: WanConfig):
        super().__init__()
        patch_volume = config.patch_size[0] * config.patch_size[1] * config.patch_size[2]
        self.norm = nn.LayerNorm(config.dim, config.eps, elementwise_affine=False)
        self.head = nn.Linear(config.dim, config.out_dim * patch_volume)
        self.modulation = nn.Parameter(torch.randn(1, 2, config.dim) / config.dim**0.5)

    def forward(self, x: Tensor, time: Tensor, packing: Packing | None = None) -> Tensor:
        """x (B, N, D), time (B, 1 or frames, D) -> (B, N, out_dim * patch volume)."""
        shift, scale = per_token(self.modulation + time.unsqueeze(2), x, packing)
        return self.head(shift + self.norm(x) * (1 + scale))


class ImageProjection(nn.Module):
    """CLIP vision features (B, 257, 1280) -> image tokens (B, 257, D), on I2V models with a CLIP input."""

    def __init__(self, config: WanConfig):
        super().__init__()
        self.proj = nn.Sequential(
            nn.LayerNorm(CLIP_WIDTH),
            nn.Linear(CLIP_WIDTH, CLIP_WIDTH),
            nn.GELU(),
            nn.Linear(CLIP_WIDTH, config.dim),
            nn.LayerNorm(config.dim),
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.proj(features)


class WanModel(nn.Module):
    """Velocity prediction of Wan 2.1 / 2.2.

    Args of `forward`:
        x: noisy latents (B, in_dim, T, H, W); odd H or W are continued from the other side, as in ComfyUI. Or B samples
            (1, in_dim, T, H, W) of any sizes, which become one sequence; see `packing`.
        timestep: 1000 × noise level, (B,) or, for Wan 2.2 5B, (B, T).
        context: text encoder output (B, M, text_dim).
        clip_fea: CLIP vision features (B, 257, 1280) for I2V models that take them.
        transformer_options: block replacements and `optimized_attention_override`, both as in ComfyUI; nothing else is
            read.
        padding_row: index of a zero row of `context` that stands for all the padding up to 512 rows. Exact, and
            several times faster for short prompts: equal keys share one row whose logit is raised by log(count).

    Returns:
        (B, out_dim, T, H, W), or one for each sample
    """

    def __init__(self, config: WanConfig):
        super().__init__()
        self.config = config
        self.dim = config.dim
        self.activation_checkpointing = False
        self.sequence_group: SequenceGroup | None = None  # of training processes that share each sample's tokens
        self.patch_embedding = nn.Conv3d(config.in_dim, config.dim, config.patch_size, config.patch_size)
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, config.dim), nn.GELU(approximate="tanh"), nn.Linear(config.dim, config.dim)
        )
        self.time_embedding = nn.Sequential(
            nn.Linear(config.freq_dim, config.dim), nn.SiLU(), nn.Linear(config.dim, config.dim)
        )
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(config.dim, 6 * config.dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.head = Head(config)
        if config.has_image_tokens:
            self.img_emb = ImageProjection(config)

    def forward(
        self,
        x: Tensor | Sequence[Tensor],
        timestep: Tensor,
        context: Tensor,
        clip_fea: Tensor | None = None,
        transformer_options: dict | None = None,
        padding_row: int | None = None,
    ) -> Tensor | list[Tensor]:
        transformer_options = transformer_options or {}
        parts = [x] if isinstance(x, Tensor) else list(x)
        embedded_parts = [self.patch_embedding(self._even(part)) for part in parts]
        grids = [part.shape[2:] for part in embedded_parts]
        tokens = torch.cat([rearrange(part, "b d t h w -> b (t h w) d") for part in embedded_parts], dim=1)
        head_dim = self.config.dim // self.config.num_heads
        rotary = torch.cat([rotary_matrices(grid, head_dim, device=tokens.device) for grid in grids], dim=1)

        embedded = sinusoidal_embedding(timestep, self.config.freq_dim).to(tokens.dtype)
        time = self.time_embedding(embedded)  # (B, 1 or T, D)
        packing = None
        if not isinstance(x, Tensor):
            packing = Packing(tuple(grid.numel() for grid in grids))
            transformer_options = noting(transformer_options, packing)
            time = rearrange(time, "b 1 d -> 1 b d")
        block_time = rearrange(self.time_projection(time), "b t (six d) -> b t six d", six=6)

        sequence = None
        if self.sequence_group is not None:
            sequence = self.sequence_group.of(tokens.shape[1])
            tokens, rotary = sequence.own(tokens), sequence.own(rotary)
            transformer_options = sharing(transformer_options, sequence)

        context = self.text_embedding(context)
        num_image_tokens = 0
        if clip_fea is not None and self.config.has_image_tokens:
            context = torch.cat([self.img_emb(clip_fea), context], dim=1)
            num_image_tokens = clip_fea.shape[1]

        replacements = transformer_options.get("patches_replace", {}).get("dit", {})
        for index, block in enumerate(self.blocks):

            def original(args: dict, block=block) -> dict:
                inputs = (
                    args["img"], args["txt"], args["vec"], args["pe"], num_image_tokens, padding_row,
                    args["transformer_options"],
                )  # fmt: skip
                if self.activation_checkpointing and torch.is_grad_enabled():
                    return {"img": checkpoint(block, *inputs, use_reentrant=False)}
                return {"img": block(*inputs)}

            args = {
                "img": tokens, "txt": context, "vec": block_time, "pe": rotary,
                "transformer_options": transformer_options,
            }  # fmt: skip
            replacement = replacements.get(("double_block", index))
            out = original(args) if replacement is None else replacement(args, {"original_block": original})
            tokens = out["img"]
        tokens = self.head(tokens, time, packing)
        if sequence is not None:
            tokens = sequence.whole(tokens)
        outs = [
            self._unpatchify(of_part, grid)[..., : part.shape[3], : part.shape[4]]
            for of_part, grid, part in zip(
                tokens.split([grid.numel() for grid in grids], dim=1), grids, parts, strict=True
            )
        ]
        return outs[0] if packing is None else outs

    @contextmanager
    def unshared(self) -> Iterator[None]:
        """Within this context a process computes whole samples, even if it shares them with others."""
        group, self.sequence_group = self.sequence_group, None
        try:
            yield
        finally:
            self.sequence_group = group

    def _even(self, x: Tensor) -> Tensor:
        """Latents continued from the other side to whole patches."""
        _, patch_height, patch_width = self.config.patch_size
        return F.pad(x, (0, -x.shape[4] % patch_width, 0, -x.shape[3] % patch_height, 0, 0), mode="circular")

    def _unpatchify(self, tokens: Tensor, grid) -> Tensor:
        frames, height, width = grid
        p_t, p_h, p_w = self.config.patch_size
        return rearrange(
            tokens, "b (t h w) (pt ph pw c) -> b c (t pt) (h ph) (w pw)",
            t=frames, h=height, w=width, pt=p_t, ph=p_h, pw=p_w,
        )  # fmt: skip


def sinusoidal_embedding(position: Tensor, dim: int) -> Tensor:
    """position (B,) or (B, T) -> (B, 1 or T, dim), cosines first, in float32."""
    position = position.reshape(position.shape[0], -1, 1).float()
    half = dim // 2
    frequencies = torch.pow(10000, -torch.arange(half, device=position.device, dtype=torch.float32) / half)
    angles = position * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def padding_bias(padding_row: int, num_rows: int, device) -> Tensor:
    """Logit bias (num_rows,) under which one row counts as many as the others leave of a full context."""
    if num_rows > TEXT_ROWS:
        raise SlotIDError(f"The context has {num_rows} rows, more than Wan's {TEXT_ROWS}. Shorten the prompt.")
    bias = torch.zeros(num_rows, device=device)
    bias[padding_row] = math.log(TEXT_ROWS - (num_rows - 1))
    return bias


def per_token(modulation: Tensor, x: Tensor, packing: Packing | None = None) -> tuple[Tensor, ...]:
    """Split (B, 1 or frames, parts, D) into parts that broadcast over the tokens of x (B, N, D); of packed samples
    (1, B or what else is modulated, parts, D)."""
    frames = modulation.shape[1]
    if packing is not None:
        modulation = packing.of_modulated(modulation)
    elif frames > 1:
        modulation = modulation.repeat_interleave(x.shape[1] // frames, dim=1)
    return modulation.to(x.dtype).unbind(2)
