"""Batches of a run: a function of seed, step and row alone, so that any number of processes gives the same ones."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..systems.contract import CORE_FIELDS, Batch, SharedObjective
from ..wan.sampling import shifted
from ..wan.text_encoder import pad_text
from .config import Pairing

TEXT, EMPTY_TEXT, DESCRIBED = "text", "empty_text", "described"
# What a system draws for itself from a generator: `contract.Strategy.draw`.
Draw = Callable[[torch.Generator], dict[str, Tensor]]


class Samples(Protocol):
    """What is needed of `dataset.cached.CachedDataset`."""

    samples: tuple

    def read(self, index: int, names: tuple[str, ...] | None = None) -> dict[str, Tensor]: ...

    def partner(self, index: int, rng: np.random.Generator, same_clip: bool) -> int: ...


class Batches:
    """Batches of a run.

    Args:
        required_tensors, text_rows, draw, target_tensors: of the system; see `contract.Strategy`.
    """

    def __init__(
        self,
        data: Samples,
        objective: SharedObjective,
        pairing: Pairing,
        batch: int,
        seed: int,
        required_tensors: tuple[str, ...],
        text_rows: int,
        draw: Draw,
        target_tensors: tuple[str, ...] = (),
    ):
        self.data, self.objective, self.pairing = data, objective, pairing
        self.batch, self.seed = batch, seed
        self.required_tensors, self.text_rows, self.draw = required_tensors, text_rows, draw
        self.target_tensors = target_tensors
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0))

    def rows(self, step: int, rows: range) -> Batch:
        """Rows of the batch of a step; each row is the same whatever the others are."""
        return collate([self.row(step, row) for row in rows], self.text_rows)

    def row(self, step: int, row: int) -> dict[str, Tensor]:
        index = self._index(step * self.batch + row)
        rng = np.random.default_rng((self.seed, step, row))
        reference = self.data.partner(index, rng, same_clip=self.pairing == "same clip")
        wanted = (
            "video",
            TEXT,
            EMPTY_TEXT,
            *self.target_tensors,
            *((DESCRIBED,) if self.objective.described_weight else ()),
        )
        sample = self.data.read(index, wanted)
        sample |= self.data.read(reference, self.required_tensors)
        return draw_row(sample, self.objective, self.draw, rng)

    def _index(self, position: int) -> int:
        """Every epoch visits each sample once, in an order of its own."""
        epoch, place = divmod(position, len(self.data.samples))
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng((self.seed, 7, epoch)).permutation(len(self.data.samples))
        return int(self._order[1][place])


def draw_row(
    sample: dict[str, Tensor], objective: SharedObjective, draw: Draw, rng: np.random.Generator
) -> dict[str, Tensor]:
    """One row of a batch: a sample with noise level, noise, text and identity dropout, and the system's draws."""
    t = shifted(rng.random(), objective.timestep_shift)
    both, text, identity = np.cumsum(
        [objective.joint_dropout, objective.text_dropout, objective.identity_dropout]
    )  # ends of three neighbouring intervals
    left_out = rng.random()
    drops_text = left_out < text
    drops_identity = left_out < both or text <= left_out < identity
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    row = {name: tensor for name, tensor in sample.items() if name not in (TEXT, EMPTY_TEXT)}
    text_rows = sample[EMPTY_TEXT if drops_text else TEXT]
    if DESCRIBED in row and drops_identity:  # nobody is told from the caption, so the model should say what it said
        row[DESCRIBED] = text_rows
    elif DESCRIBED in row and drops_text:  # a described caption would tell of the scene too
        row[DESCRIBED] = text_rows[:0]
    return row | {
        "noise": torch.randn(sample["video"].shape, generator=generator),
        "noise_level": torch.tensor(t, dtype=torch.float32),
        "has_identity": torch.tensor(0.0 if drops_identity else 1.0),
        **draw(generator),
        TEXT: text_rows,
    }


def collate(rows: list[dict[str, Tensor]], text_rows: int) -> Batch:
    """Rows as one batch, with room for `text_rows` rows of the system behind the longest prompts."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    context = pad_text(columns.pop(TEXT), room=text_rows)
    described = pad_text(columns.pop(DESCRIBED)) if DESCRIBED in columns else None
    stacked = {name: torch.stack(values) for name, values in columns.items()}
    core = {name: stacked.pop(name) for name in CORE_FIELDS if name in stacked}
    return Batch(context=context, **core, conditions=stacked, described=described)
