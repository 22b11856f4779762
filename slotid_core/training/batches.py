"""What a step sees: a function of seed, step and row alone, so that any number of processes sees the same."""

from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..wan.sampling import shifted
from ..wan.text_encoder import pad_text
from .config import ObjectiveConfig, Pairing


@dataclass(frozen=True)
class Batch:
    """Samples of a step, and everything random about them.

    Attributes:
        video: (B, 16, T, H, W) normalised latents to learn.
        reference: (B, 16, T', H', W') of the face clip; portrait: (B, 16, 1, H", W").
        context: (B, M, 4096) text rows; the last one is zero and stands for all padding.
        noise: like `video`; noise_level: (B,) in [0, 1].
        has_identity: (B,) 0 or 1; token_mask: (B, N) 0 or 1.
    """

    video: Tensor
    reference: Tensor
    portrait: Tensor
    context: Tensor
    noise: Tensor
    noise_level: Tensor
    has_identity: Tensor
    token_mask: Tensor

    def __len__(self) -> int:
        return len(self.video)

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(getattr(self, entry.name).to(device, non_blocking=True) for entry in fields(self)))


class Samples(Protocol):
    """What is needed of `dataset.cached.CachedDataset`."""

    samples: tuple

    def read(self, index: int, names: tuple[str, ...] | None = None) -> dict[str, Tensor]: ...

    def partner(self, index: int, rng: np.random.Generator, same_clip: bool) -> int: ...


class Batches:
    """Batches of a run. `num_tokens` is how many identity tokens there are to drop."""

    def __init__(self, data: Samples, objective: ObjectiveConfig, pairing: Pairing, batch: int, seed: int, num_tokens):
        self.data, self.objective, self.pairing = data, objective, pairing
        self.batch, self.seed, self.num_tokens = batch, seed, num_tokens
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0))

    def rows(self, step: int, rows: range) -> Batch:
        """Rows of the batch of a step; each row is the same whatever the others are."""
        return collate([self.row(step, row) for row in rows], self.num_tokens)

    def row(self, step: int, row: int) -> dict[str, Tensor]:
        index = self._index(step * self.batch + row)
        rng = np.random.default_rng((self.seed, step, row))
        reference = self.data.partner(index, rng, same_clip=self.pairing == "same clip")
        sample = self.data.read(index, ("video", "text", "empty_text"))
        sample |= self.data.read(reference, ("reference", "portrait"))
        return draw(sample, self.objective, self.num_tokens, rng)

    def _index(self, position: int) -> int:
        """Every epoch visits each sample once, in an order of its own."""
        epoch, place = divmod(position, len(self.data.samples))
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng((self.seed, 7, epoch)).permutation(len(self.data.samples))
        return int(self._order[1][place])


def draw(sample: dict[str, Tensor], objective: ObjectiveConfig, num_tokens: int, rng) -> dict[str, Tensor]:
    """One row of a batch: noise level, noise, and what is left out."""
    t = shifted(rng.random(), objective.timestep_shift)
    both, text, identity = np.cumsum(
        [objective.joint_dropout, objective.text_dropout, objective.identity_dropout]
    )  # ends of three neighbouring intervals
    left_out = rng.random()
    drops_text = left_out < text
    drops_identity = left_out < both or text <= left_out < identity
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return {
        "video": sample["video"],
        "reference": sample["reference"],
        "portrait": sample["portrait"],
        "noise": torch.randn(sample["video"].shape, generator=generator),
        "noise_level": torch.tensor(t, dtype=torch.float32),
        "has_identity": torch.tensor(0.0 if drops_identity else 1.0),
        "token_mask": (torch.rand(num_tokens, generator=generator) >= objective.token_dropout).float(),
        "text": sample["empty_text" if drops_text else "text"],
    }


def collate(rows: list[dict[str, Tensor]], num_tokens: int) -> Batch:
    """Rows as one batch, with room for `num_tokens` identity tokens behind the longest prompts."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    context = pad_text(columns.pop("text"), room=num_tokens)
    return Batch(context=context, **{name: torch.stack(values) for name, values in columns.items()})
