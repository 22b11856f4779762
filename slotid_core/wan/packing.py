"""Samples of any size and length as one sequence (arXiv 2509.15496, section 3.2.1; NaViT, arXiv 2307.06304).

Linear layers see one long row of tokens and no padding. Attention stays within a sample, rotations are those of each
sample's own grid, and each sample has its own noise level and prompt. A forward pass notes its packing in
`transformer_options`, so that hooks know where a sample begins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

# What this pack notes in `transformer_options`, all of it under one key.
SHARED_KEY = "slotid"
PACKING, SAMPLE = "packing", "sample"


@dataclass(frozen=True)
class Packing:
    """How many tokens of a sequence (1, N, D) each of B samples has, in their order.

    Attributes:
        lengths: (B) of tokens; attention stays within each.
        modulated: tokens that share a modulation, in order; by default a sample's. What is appended behind a sample's
            video may have one of its own.
    """

    lengths: tuple[int, ...]
    modulated: tuple[int, ...] = ()

    def split(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """(1, N, ...) -> B of (1, length, ...)."""
        return tokens.split(self.lengths, dim=1)

    def of_samples(self, values: Tensor) -> Tensor:
        """(B, ...) -> (1, N, ...), the value of a token's sample."""
        return _repeated(values, self.lengths)

    def of_modulated(self, values: Tensor) -> Tensor:
        """(1, parts, ...), a part for each of `modulated`, -> (1, N, ...)."""
        return _repeated(values[0], self.modulated or self.lengths)


class AnyModel(Protocol):
    """A Wan transformer of ours, as `predict` calls it."""

    patch_embedding: torch.nn.Conv3d

    def __call__(
        self, x, timestep: Tensor, context: Tensor, transformer_options: dict, padding_row: int
    ) -> Tensor | list[Tensor]: ...


def packing_of(options: Mapping) -> Packing | None:
    """The packing of the pass that these `transformer_options` belong to; None where a batch has one size."""
    return options.get(SHARED_KEY, {}).get(PACKING)


def noting(options: dict, packing: Packing) -> dict:
    """A copy of `options` that notes a packing."""
    return {**options, SHARED_KEY: {**options.get(SHARED_KEY, {}), PACKING: packing}}


def noting_sample(options: dict, sample: int) -> dict:
    """A copy of `options` for what is computed of one sample of a packing alone."""
    return {**options, SHARED_KEY: {**options.get(SHARED_KEY, {}), SAMPLE: sample}}


def sample_of(options: dict) -> int | None:
    """Which sample of a packing an attention is computed for; None where it is for the whole batch."""
    return options.get(SHARED_KEY, {}).get(SAMPLE)


def predict(
    model: AnyModel, latents: Sequence[Tensor], noise_level: Tensor, context: Tensor, options: dict
) -> list[Tensor]:
    """Velocities of batches of one size each, in one forward pass.

    Args:
        latents: one batch (B, C, T, H, W), or several samples (1, C, T, H, W) of any sizes.
        noise_level: (B,) in [0, 1] of all samples.
        context: (B, M, text width); the last row is zero and stands for all padding.

    Returns:
        one for each of `latents`, of its shape.
    """
    dtype, padding_row = model.patch_embedding.weight.dtype, context.shape[1] - 1
    inputs = [part.to(dtype) for part in latents]
    out = model(
        inputs[0] if len(inputs) == 1 else inputs, 1000 * noise_level, context.to(dtype), transformer_options=options,
        padding_row=padding_row,
    )  # fmt: skip
    return [out] if isinstance(out, Tensor) else out


def grid_of(latents: Tensor) -> tuple[int, int, int]:
    """Tokens of latents (B, C, T, H, W) by time, height and width; odd sides are padded."""
    frames, height, width = latents.shape[2:]
    return frames, -(-height // 2), -(-width // 2)


def _repeated(values: Tensor, counts: Sequence[int]) -> Tensor:
    total = sum(counts)
    repeats = torch.tensor(counts, device=values.device)
    return values.repeat_interleave(repeats, dim=0, output_size=total).unsqueeze(0)
