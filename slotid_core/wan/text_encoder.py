"""Wan's text encoder in plain PyTorch, read by ComfyUI's keys: umT5 of any size, prompts to context rows.

umT5 (Chung et al. 2023) is T5 1.1 (Raffel et al. 2020, §2.1) with position biases of its own in every layer: RMS norm
before each part, attention without scaling, a gated GELU. Wan's is umT5-XXL: 24 layers, 64 heads of 64, width 4096,
feed-forward 10240. Training and preparation run where no ComfyUI is; parity with ComfyUI's is a test.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..errors import SlotIDError
from ..finite import all_finite
from ..tensor_shapes import count_numbered, fill, shape_of
from ..weights import naming, read_tensors

FARTHEST = 128  # beyond this many tokens, all distances share one bucket
PADDING = 0
LONGEST_PROMPT = 512  # tokens, the end mark included; Wan's context has no more rows
SCALE = ".scale_weight"


@dataclass(frozen=True)
class TextEncoderConfig:
    """umT5-XXL by default."""

    vocab_size: int = 256384
    width: int = 4096
    num_layers: int = 24
    num_heads: int = 64
    head_dim: int = 64
    ffn_dim: int = 10240
    num_buckets: int = 32

    @classmethod
    def from_state_dict(cls, weights: dict[str, Tensor]) -> "TextEncoderConfig":
        """Sizes from the shapes of ComfyUI's umT5 layout.

        Raises:
            SlotIDError: tensors of that layout are missing.
        """
        bias = "encoder.block.{}.layer.0.SelfAttention.relative_attention_bias.weight"
        first = "encoder.block.0.layer"
        needed = ("shared.weight", bias.format(0), f"{first}.0.SelfAttention.q.weight", "spiece_model")
        missing = [name for name in needed if name not in weights]
        if missing:
            raise SlotIDError(
                f"This is not a umT5 text encoder in ComfyUI's layout: it lacks {', '.join(missing)}. "
                "Give the file that ComfyUI loads for Wan, such as umt5_xxl_fp16.safetensors."
            )
        buckets, heads = shape_of(weights, bias.format(0), 2)
        vocab_size, width = shape_of(weights, "shared.weight", 2)
        return cls(
            vocab_size=vocab_size,
            width=width,
            num_layers=count_numbered(weights, "encoder.block."),
            num_heads=heads,
            head_dim=shape_of(weights, f"{first}.0.SelfAttention.q.weight", 2)[0] // heads,
            ffn_dim=shape_of(weights, f"{first}.1.DenseReluDense.wi_0.weight", 2)[0],
            num_buckets=buckets,
        )


class RMSNorm(nn.Module):
    """Root mean square one over the last axis, times a learned gain; computed in float32."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), x.shape[-1:], self.weight.float(), eps=1e-6).to(x.dtype)


class SelfAttention(nn.Module):
    def __init__(self, config: TextEncoderConfig):
        super().__init__()
        self.num_heads = config.num_heads
        inner = config.num_heads * config.head_dim
        self.q, self.k, self.v = (nn.Linear(config.width, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, config.width, bias=False)
        self.relative_attention_bias = unfilled_embedding(config.num_buckets, config.num_heads)

    def forward(self, x: Tensor, real: Tensor, buckets: Tensor) -> Tensor:
        """x (B, M, D), real (B, M) true where a row is not padding, buckets (M, M)."""
        q, k, v = (rearrange(part(x), "b m (h d) -> b h m d", h=self.num_heads) for part in (self.q, self.k, self.v))
        logits = torch.einsum("bhmd,bhnd->bhmn", q, k).float()
        logits = logits + rearrange(self.relative_attention_bias(buckets).float(), "m n h -> h m n")
        logits = logits.masked_fill(~real[:, None, None, :], -torch.inf)
        return self.o(rearrange(logits.softmax(-1).to(v.dtype) @ v, "b h m d -> b m (h d)"))


class AttentionLayer(nn.Module):
    def __init__(self, config: TextEncoderConfig):
        super().__init__()
        self.SelfAttention = SelfAttention(config)
        self.layer_norm = RMSNorm(config.width)

    def forward(self, x: Tensor, real: Tensor, buckets: Tensor) -> Tensor:
        return x + self.SelfAttention(self.layer_norm(x), real, buckets)


class GatedGELU(nn.Module):
    def __init__(self, config: TextEncoderConfig):
        super().__init__()
        self.wi_0, self.wi_1 = (nn.Linear(config.width, config.ffn_dim, bias=False) for _ in range(2))
        self.wo = nn.Linear(config.ffn_dim, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.wo(F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x))


class FeedForwardLayer(nn.Module):
    def __init__(self, config: TextEncoderConfig):
        super().__init__()
        self.DenseReluDense = GatedGELU(config)
        self.layer_norm = RMSNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.DenseReluDense(self.layer_norm(x))


class Block(nn.Module):
    def __init__(self, config: TextEncoderConfig):
        super().__init__()
        self.layer = nn.ModuleList([AttentionLayer(config), FeedForwardLayer(config)])

    def forward(self, x: Tensor, real: Tensor, buckets: Tensor) -> Tensor:
        return self.layer[1](self.layer[0](x, real, buckets))


class Stack(nn.Module):
    def __init__(self, config: TextEncoderConfig):
        super().__init__()
        self.block = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.final_layer_norm = RMSNorm(config.width)

    def forward(self, x: Tensor, real: Tensor, buckets: Tensor) -> Tensor:
        for block in self.block:
            x = block(x, real, buckets)
        return self.final_layer_norm(x)


class TextEncoder(nn.Module):
    """umT5 and its tokenizer, frozen; built from the tensors of a file, `spiece_model` included."""

    def __init__(
        self,
        weights: dict[str, Tensor],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        super().__init__()
        import sentencepiece

        self.config = TextEncoderConfig.from_state_dict(weights)
        shape_of(weights, "spiece_model", 1)
        try:
            self.tokenizer = sentencepiece.SentencePieceProcessor(
                model_proto=weights["spiece_model"].cpu().numpy().tobytes(), add_eos=True
            )
        except Exception as error:  # a parser's, of any kind
            raise SlotIDError(f"The text encoder's 'spiece_model' is no tokenizer ({error}). Copy it again.") from error
        with torch.device("meta"):
            self.shared = unfilled_embedding(self.config.vocab_size, self.config.width)
            self.encoder = Stack(self.config)
        fill(self, _in_dtype(weights, set(self.state_dict()), dtype, device), "a umT5 text encoder")
        self.eval().requires_grad_(False)

    @classmethod
    def from_file(
        cls, path: str | os.PathLike, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> "TextEncoder":
        """A file in ComfyUI's umT5 layout: fp32, fp16, bf16, or fp8 with its scales.

        Raises:
            SlotIDError: no such file, no safetensors, or another layout.
        """
        path = Path(path)
        if not path.is_file():
            raise SlotIDError(f"There is no text encoder file {path}. Give the path of a umT5 safetensors file.")
        with naming(path):
            return cls(read_tensors(path, check=False)[0], dtype, device)

    @torch.no_grad()
    def forward(self, prompts: list[str]) -> Tensor:
        """Prompts -> (B, M, D); a prompt's rows end with zeros, of which every prompt has at least one."""
        tokens = [self.tokens(prompt) for prompt in prompts]
        length = 1 + max(len(row) for row in tokens)
        device = self.shared.weight.device
        ids = torch.tensor([row + [PADDING] * (length - len(row)) for row in tokens], device=device)
        lengths = torch.tensor([[len(row)] for row in tokens], device=device)
        real = torch.arange(length, device=device) < lengths  # (B, M)
        rows = self.encoder(self.shared(ids), real, distance_buckets(length, self.config.num_buckets).to(device))
        return rows * real.unsqueeze(2)

    def tokens(self, prompt: str) -> list[int]:
        """Token ids, the end mark last; of a longer prompt the first `LONGEST_PROMPT` - 1 and the end mark."""
        ids = self.tokenizer.encode(prompt)
        return ids if len(ids) <= LONGEST_PROMPT else [*ids[: LONGEST_PROMPT - 1], ids[-1]]

    def encode(self, prompt: str) -> Tensor:
        """One prompt -> (M, D), real rows only: no row of zeros."""
        return self([prompt])[0, :-1]


def unfilled_embedding(rows: int, width: int) -> nn.Embedding:
    """Without first values, which on the meta device cost the import of PyTorch's compiler: seven seconds."""
    return nn.Embedding(rows, width, _weight=torch.empty(rows, width))


def distance_buckets(length: int, num_buckets: int = 32) -> Tensor:
    """Bucket of each pair (to, from) of rows: half for what lies behind, half ahead; fine near, coarse far. (M, M)"""
    distance = torch.arange(length)[None, :] - torch.arange(length)[:, None]
    half, near = num_buckets // 2, num_buckets // 4
    away = distance.abs()
    far = near + (torch.log(away.clamp(min=1) / near) / math.log(FARTHEST / near) * (half - near)).long()
    return torch.where(away < near, away, far.clamp(max=half - 1)) + half * (distance > 0)


def _in_dtype(weights: dict[str, Tensor], names: set[str], dtype, device) -> dict[str, Tensor]:
    """The named tensors, times their scale where an fp8 file has one."""
    missing = sorted(names - set(weights))
    if missing:
        raise SlotIDError(
            f"The text encoder lacks {len(missing)} of its tensors, the first {missing[0]!r}. Copy the file again."
        )
    unreadable = sorted(name for name in names if not weights[name].is_floating_point())
    if unreadable:
        raise SlotIDError(
            f"The text encoder's {unreadable[0]!r} is {weights[unreadable[0]].dtype}, a quantisation that is not "
            "supported here. Give the fp16, bf16 or fp8-scaled file."
        )
    ready = {}
    for name in names:
        scale = weights.get(name.removesuffix(".weight") + SCALE)
        # Here and not when the file is opened, so that each of its gigabytes is fetched once.
        if not all_finite(weights[name]) or (scale is not None and not all_finite(scale)):
            raise SlotIDError(f"The text encoder's {name!r} holds NaN or infinity. Copy the file again.")
        tensor = weights[name].to(device=device, dtype=dtype)
        ready[name] = tensor if scale is None else tensor * scale.to(device=device, dtype=dtype)
    return ready


def pad_text(prompts: list[Tensor], room: int = 0) -> Tensor:
    """Prompts (M_i, 4096) -> (B, M, 4096) with zero rows behind each, at least one.

    `room`: rows of Wan's context kept free for others; prompts that are longer than what is left lose their ends.
    """
    prompts = [rows[: LONGEST_PROMPT - 1 - room] for rows in prompts]
    length = 1 + max(len(rows) for rows in prompts)
    context = prompts[0].new_zeros(len(prompts), length, prompts[0].shape[1])
    for place, rows in zip(context, prompts, strict=True):
        place[: len(rows)] = rows
    return context
