"""Batches of a run: a function of seed, step and row alone, so that any number of processes gives the same ones."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import SlotIDError
from ..systems.contract import CORE_FIELDS, FACE_SHARES, AnyBatch, Batch, PackedBatch, SharedObjective, packed
from ..wan import WanModel
from ..wan.text_encoder import pad_text
from .config import Pairing
from .mix import Mix
from .noise import NoiseLevels
from .order import Order

TEXT, EMPTY_TEXT, DESCRIBED = "text", "empty_text", "described"
EMBEDDING = "face_embedding"
START = "start_image"
IMAGE_CHANNELS = 36  # of what an image-to-video model reads: video, mask, first frame
MASK_CHANNELS = 4
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
        required_tensors, text_rows, draw, target_tensors, frame_axes, augmented_tensors: of the system; see
            `contract.Strategy`.
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
        mix: Mix = Mix(),  # noqa: B008, frozen
        frame_axes: Mapping[str, int] = MappingProxyType({}),
        augmented_tensors: Mapping[str, str] = MappingProxyType({}),
        levels: NoiseLevels | None = None,
    ):
        self.data, self.objective, self.pairing = data, objective, pairing
        self.batch, self.seed = batch, seed
        self.required_tensors, self.text_rows, self.draw = required_tensors, text_rows, draw
        self.target_tensors, self.mix = target_tensors, mix
        self.frame_axes, self.augmented_tensors = frame_axes, augmented_tensors
        self.levels = levels or NoiseLevels(objective.timestep_shift, batch, seed, stratified=objective.stratified)
        self.order = Order(seed, getattr(data, "lengths", (len(data.samples),)), mix.weights)

    def rows(self, step: int, rows: range) -> AnyBatch:
        """Rows of the batch of a step; each row is the same whatever the others are."""
        whole = [self.row(step, row) for row in rows]
        return collate_packed(whole, self.text_rows) if self.mix.is_packed else collate(whole, self.text_rows)

    def row(self, step: int, row: int) -> dict[str, Tensor]:
        index = self.order.index(step * self.batch + row)
        rng = np.random.default_rng((self.seed, step, row))
        kinds = np.random.default_rng((self.seed, 11, step, row))  # of its own, so that other draws stay as they are
        kind = self._kind(kinds)
        reference = self.data.partner(index, rng, same_clip=kind != "other clip")
        if reference != index and self.mix.least_resemblance and not self._alike(index, reference):
            reference = index
        wanted = (
            "video",
            TEXT,
            EMPTY_TEXT,
            *self.target_tensors,
            *((DESCRIBED,) if self.objective.described_weight else ()),
            *((FACE_SHARES,) if self.objective.face_area_weight else ()),
        )
        sample = self.data.read(index, wanted)
        sample |= self.data.read(reference, self.required_tensors)
        if kind == "augmented":
            sample |= self._other_looks(index, kinds)
        if step < self.mix.image_steps or kinds.random() < self.mix.image_share:
            sample |= first_frames(sample, self.frame_axes)
        return draw_row(sample, self.objective, self.draw, rng, lambda uniform: self.levels.draw(step, row, uniform))

    def _kind(self, rng: np.random.Generator) -> str:
        weights = self.mix.pairs
        if not weights:
            return self.pairing
        return str(rng.choice(list(weights), p=np.array(list(weights.values())) / sum(weights.values())))

    def _alike(self, one: int, other: int) -> bool:
        """Whether a recogniser says that two samples show one person (arXiv 2509.15496, section 4)."""
        first, second = (self.data.read(index, (EMBEDDING,))[EMBEDDING] for index in (one, other))
        return bool(torch.cosine_similarity(first, second, dim=0) >= self.mix.least_resemblance)

    def _other_looks(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Required tensors of one augmented picture of the clip itself; none where every one was discarded."""
        looks = self.data.read(index, tuple(self.augmented_tensors.values()))
        finite = [look.flatten(1).isfinite().all(1) for look in looks.values()]
        kept = torch.stack(finite).all(0).nonzero().flatten()
        if not len(kept):
            return {}
        which = int(kept[int(rng.integers(len(kept)))])
        return {name: looks[other][which] for name, other in self.augmented_tensors.items()}


def draw_row(
    sample: dict[str, Tensor],
    objective: SharedObjective,
    draw: Draw,
    rng: np.random.Generator,
    level: Callable[[float], float],
) -> dict[str, Tensor]:
    """One row of a batch: a sample with noise level, noise, text and identity dropout, and the system's draws.

    Args:
        level: a noise level from a number in [0, 1).
    """
    t = level(rng.random())
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


def first_frames(sample: Mapping[str, Tensor], frame_axes: Mapping[str, int]) -> dict[str, Tensor]:
    """What is of a sample's clip, cut to its first latent frame."""
    axes = {"video": 1, START: 1, FACE_SHARES: 0, **frame_axes}
    return {name: sample[name].narrow(axis, 0, 1) for name, axis in axes.items() if name in sample}


def collate_packed(rows: list[dict[str, Tensor]], text_rows: int) -> PackedBatch:
    """Rows of any sizes as a packed batch, with prompts as in `collate`."""
    context = pad_text([row[TEXT] for row in rows], room=text_rows)
    described = pad_text([row[DESCRIBED] for row in rows]) if DESCRIBED in rows[0] else None
    parts = []
    for number, row in enumerate(rows):
        own = slice(number, number + 1)
        values = {name: value.unsqueeze(0) for name, value in row.items() if name not in (TEXT, DESCRIBED)}
        core = {name: values.pop(name) for name in CORE_FIELDS if name in values}
        of_row = None if described is None else described[own]
        start = with_mask(values.pop(START)) if START in values else None
        parts.append(Batch(context=context[own], **core, conditions=values, described=of_row, start=start))
    return packed(parts)


def collate(rows: list[dict[str, Tensor]], text_rows: int) -> Batch:
    """Rows as one batch, with room for `text_rows` rows of the system behind the longest prompts.

    Raises:
        SlotIDError: videos of several sizes.
    """
    sizes = sorted({tuple(row["video"].shape[1:]) for row in rows})
    if len(sizes) > 1:
        raise SlotIDError(
            f"The samples of a step have several sizes, such as latents of {sizes[0]} and {sizes[-1]}, which no batch "
            "without packing can hold. Set run.pack_tokens, or train on data of one size."
        )
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    context = pad_text(columns.pop(TEXT), room=text_rows)
    described = pad_text(columns.pop(DESCRIBED)) if DESCRIBED in columns else None
    stacked = {name: torch.stack(values) for name, values in columns.items()}
    core = {name: stacked.pop(name) for name in CORE_FIELDS if name in stacked}
    start = with_mask(stacked.pop(START)) if START in stacked else None
    return Batch(context=context, **core, conditions=stacked, described=described, start=start)


def with_mask(latents: Tensor) -> Tensor:
    """Latents of a clip whose later frames are grey (B, 16, T, H, W), behind a mask that is 1 at the first frame."""
    mask = latents.new_zeros(len(latents), MASK_CHANNELS, *latents.shape[2:])
    mask[:, :, 0] = 1
    return torch.cat([mask, latents], dim=1)


def check_faces(objective: SharedObjective, prepared: Mapping, folder: Path) -> None:
    """
    Args:
        prepared: settings that the data in `folder` was prepared with.

    Raises:
        SlotIDError: the objective weighs faces, and the data does not say where they are.
    """
    if objective.face_area_weight and not prepared.get(FACE_SHARES):
        raise SlotIDError(
            f"objective.face_area_weight is {objective.face_area_weight:g}, and the data in {folder} does not say "
            "where faces are. Prepare it with face_shares: boxes or masks, or set objective.face_area_weight to 0."
        )


def given_tensors(model: WanModel) -> tuple[str, ...]:
    """Prepared tensors that the video model itself is given."""
    return (START,) if model.config.in_dim == IMAGE_CHANNELS else ()
