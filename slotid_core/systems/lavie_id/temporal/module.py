"""The temporal autoregressive module (LaVieID, section 3.3, equation 4).

    c*_k = c_k + β φ(ψ(c*_{k-1}), c_k)

c_k is a chunk of latent frames, headed by the last frame of the enhanced chunk before. ψ reads that chunk, causally by
frame; φ reads ψ's result with the tokens of c_k as queries, and what it reads is the bias. Frame 0 is the first chunk's
head and all that is before it; it stays as it is.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ....errors import SlotIDError
from ....wan.attention import dot_product_attention
from ....wan.rope import apply_rotary, rotary_matrices
from .chunks import check_latents, chunk_length, starts, to_latents, to_tokens
from .config import PATCH, TOKEN, TemporalConfig

FEED_FORWARD = 4  # times as wide, as in the local encoder


class CausalLayer(nn.Module):
    """Self-attention in which a frame sees itself and those before it, and a feed-forward layer; both residual."""

    def __init__(self, config: TemporalConfig):
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.to_out = nn.Linear(width, width, bias=False)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, FEED_FORWARD * width), nn.GELU(), nn.Linear(FEED_FORWARD * width, width)
        )

    def forward(self, x: Tensor, rotary: Tensor, frame_tokens: int) -> Tensor:
        q, k, v = self.to_qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k, v = (part.transpose(1, 2) for part in (apply_rotary(q, rotary), apply_rotary(k, rotary), v))
        # Frame by frame: no mask as large as the square of the tokens, and half of the products.
        frames = [
            dot_product_attention(q[:, :, end - frame_tokens : end], k[:, :, :end], v[:, :, :end])
            for end in range(frame_tokens, x.shape[1] + 1, frame_tokens)
        ]
        x = x + self.to_out(torch.cat(frames, dim=2).transpose(1, 2).flatten(2))
        return x + self.feed_forward(self.norm2(x))


class CrossAttention(nn.Module):
    """φ: tokens of a chunk read those of the chunk before, by the local router's cross-attention."""

    def __init__(self, config: TemporalConfig):
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_kv = nn.Linear(width, 2 * width, bias=False)
        self.to_out = nn.Linear(width, width, bias=False)

    def forward(self, before: Tensor, x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        """before (B, M, D), x (B, N, D) -> (B, N, D).

        Args:
            rotary: of `before` and of `x`; None for none.
        """
        q = self.to_q(self.norm2(x)).unflatten(-1, (self.heads, -1))
        k, v = self.to_kv(self.norm1(before)).unflatten(-1, (2, self.heads, -1)).unbind(2)
        if rotary is not None:
            k, q = apply_rotary(k, rotary[0]), apply_rotary(q, rotary[1])
        read = dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return self.to_out(read.transpose(1, 2).flatten(2))


class TemporalModule(nn.Module):
    """See the top of this file. A new one changes nothing, as its last projection is zero."""

    def __init__(self, config: TemporalConfig):
        super().__init__()
        self.config = config
        self.activation_checkpointing = False  # keep only the input of each layer of ψ for the backward pass
        self.project_in = nn.Linear(TOKEN, config.width)
        self.layers = nn.ModuleList(CausalLayer(config) for _ in range(config.layers))
        self.read = CrossAttention(config)
        self.project_out = nn.Linear(config.width, TOKEN)
        nn.init.zeros_(self.project_out.weight)
        nn.init.zeros_(self.project_out.bias)

    def rotary(self, first: int, frames: int, side: tuple[int, int], like: Tensor) -> Tensor:
        """Of so many frames of `side` tokens, the first of them at time `first`."""
        axes = (self.config.head_width, 0, 0) if self.config.rotary == "frame" else None
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        return rotary_matrices(
            (frames, *side), self.config.head_width, like.device, (first, 0, 0), axes=axes, dtype=dtype
        )

    def bias(self, before: Tensor, chunk: Tensor, side: tuple[int, int]) -> Tensor:
        """b_k = φ(ψ(c*_{k-1}), c_k): before (B, S, n, 64), chunk (B, T, n, 64) -> (B, T, n, 64).

        Args:
            side: rows and columns of a frame's n tokens.
        """
        weight = self.project_in.weight
        # The last frame before is the first of the chunk. What rotates attention are differences of times alone.
        times = self.rotary(1 - before.shape[1], before.shape[1], side, weight)
        state = self.project_in(before.flatten(1, 2).to(weight.dtype))
        for layer in self.layers:
            if self.activation_checkpointing and torch.is_grad_enabled():
                state = checkpoint(layer, state, times, before.shape[2], use_reentrant=False)
            else:
                state = layer(state, times, before.shape[2])
        queries = self.project_in(chunk.flatten(1, 2).to(weight.dtype))
        places = None
        if self.config.rotary == "grid":
            places = (times, self.rotary(0, chunk.shape[1], side, weight))
        return self.project_out(self.read(state, queries, places)).to(chunk.dtype).view_as(chunk)

    def forward(
        self,
        latents: Tensor,
        beta: float,
        length: int,
        taught: tuple[Tensor, Tensor] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Every chunk by equation 4: normalised latents (B, 16, T, h, w), the same shape.

        Args:
            length: latent frames of a chunk.
            taught: teacher forcing. True latents, and (B,) where it is true the chunk before is the true one; the first
                frame stays the latents' own, as nothing enhances it.
            progress: called with the chunks done and their number.
        """
        height, width = latents.shape[3:]
        tokens, side = to_tokens(latents), (-(-height // PATCH), -(-width // PATCH))
        before = tokens[:, :1]
        refined, first_frames = [before], starts(tokens.shape[1], length)
        true_tokens = None if taught is None else to_tokens(taught[0])
        for number, start in enumerate(first_frames):
            if progress is not None:
                progress(number, len(first_frames))
            chunk = torch.cat([before[:, -1:], tokens[:, start : start + length]], dim=1)
            before = chunk + beta * self.bias(before, chunk, side)
            refined.append(before[:, 1:])
            if taught is not None and true_tokens is not None:
                before = torch.where(taught[1].view(-1, 1, 1, 1), true_tokens[:, start - 1 : start + length], before)
        if progress is not None:
            progress(len(first_frames), len(first_frames))
        return to_latents(torch.cat(refined, dim=1), height, width)

    @torch.no_grad()
    def refine(
        self,
        latents: Tensor,
        strength: float = 1.0,
        length: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Normalised latents of a video, refined; any number of frames.

        Args:
            strength: on β; at 0 the latents themselves come back.
            length: latent frames of a chunk; 0 for the config's own, or else for its number of chunks.

        Raises:
            SlotIDError: the latents are none of a Wan 2.1 video, or a number is NaN before or after.
        """
        if not strength:
            return latents
        check_latents(latents)
        length = length or self.config.length or chunk_length(latents.shape[2], self.config.chunks)
        refined = self(latents, strength * self.config.beta, length, progress=progress)
        if not torch.isfinite(refined).all():
            raise SlotIDError(
                "The temporal module gave NaN or infinity. Lower its strength, and look whether the latents are those "
                "of the video that was sampled."
            )
        return refined
