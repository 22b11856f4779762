"""Makes each piece of a study once and keeps it: data, adapters, and the metrics of each row."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from slotid_core.config import config_to_dict
from slotid_core.dataset.config import PrepareConfig
from slotid_core.dataset.config import read_config as read_data_config
from slotid_core.dataset.runner import prepare_dataset
from slotid_core.errors import SlotIDError
from slotid_core.evaluation.metrics import Metrics
from slotid_core.evaluation.subjects import Subject, subjects_of
from slotid_core.evaluation.variants import GROUND_TRUTH
from slotid_core.systems.slot_id import SlotIDAdapter, load_adapter
from slotid_core.toy_world.family import WEIGHTS, has_part, part_path
from slotid_core.training.config import TrainingConfig, read_config
from slotid_core.training.loop import train
from studies.slot_id.plan import ADAPTERS, SHIPPED, Row, Trained
from studies.slot_id.row_files import DRAWN, Measured, read_row, write_row
from studies.slot_id.slot_behaviour import behaviour
from studies.slot_id.studio import SYSTEM, GateStudio, StudyUsage

MODELS, JUDGES = ("vae", "text_encoder", "dit"), ("face_judge", "clip_judge", "mark_judge")
SHOWN = 8  # people of whom frames are kept for the contact sheet


class Stopped(Exception):
    """A signal came; what is finished is kept."""


@dataclass(frozen=True)
class StudySettings:
    """What is made where, and how many held-out people are drawn, each in `prompts` scenes.

    `training` is the file of settings that all adapters start from, `steps` the full budget; `data` is the file of
    settings of the people to train on. `output` gets what is large: data and adapters. `rows` gets the metrics.
    """

    training: Path
    data: Path
    output: Path
    rows: Path
    steps: int
    people: int = 64
    prompts: int = 3
    seed: int = 0
    weights: Path = WEIGHTS
    overrides: tuple[str, ...] = ()


class Study:
    """Rows of a study, made when asked for."""

    def __init__(self, settings: StudySettings, say: Callable[[str], None] = print):
        self.settings, self.say = settings, say
        self.base = read_config(settings.training, [f"run.steps={settings.steps}", *settings.overrides])
        self.people = read_data_config(settings.data)
        if self.people.toy_world is None:
            raise SlotIDError(f"{settings.data} is not of drawn people, and the judges measure no others.")
        self.models, self.judges = self._content(MODELS), self._content(JUDGES)
        self._rows: dict[tuple[str, int], Measured | None] = {}

    def _content(self, parts: tuple[str, ...]) -> str:
        return digest(*(part_path(part, self.settings.weights).read_bytes() for part in parts))

    @property
    def third(self) -> int:
        return round(self.base.run.steps / 3)

    @cached_property
    def subjects(self) -> list[Subject]:
        s = self.settings
        return subjects_of(s.seed, s.people, s.prompts, look_around=True)

    @cached_property
    def studio(self) -> GateStudio:
        return GateStudio(None, StudyUsage(), self.settings.weights, self.base.model.compute_dtype)

    @cached_property
    def metrics(self) -> Metrics:
        return Metrics(self.studio, self.subjects, self.settings.seed)

    def data(self, reference: str) -> PrepareConfig:
        """Settings of the people to train on, with face clips of this kind."""
        source = self.people.toy_world
        shared = 0 if reference == "same clip" else source.references_per_person
        return replace(self.people, toy_world=replace(source, reference=reference, references_per_person=shared))

    def prepare(self, reference: str) -> Path:
        """Folder of the people to train on; they are prepared now, from the last whole shard, if they are not there."""
        folder = self.settings.output / f"people_{slug(reference)}"
        self.say(f"people to train on: {folder}")
        prepare_dataset(self.data(reference), folder)
        return folder

    def training(self, adapter: Trained, seed: int) -> TrainingConfig:
        """Settings of an adapter but for where its data lies."""
        steps = self.base.run.steps if adapter.budget == "full" else self.third
        changes = [*adapter.changes, f"run.seed={seed}", f"run.steps={steps}", "data.train=", "data.validation="]
        return read_config(self.settings.training, [*self.settings.overrides, *changes])

    def trained(self, adapter: Trained, seed: int = 0) -> Path:
        """The adapter file; trained now, from its last checkpoint, if it is not there.

        Raises:
            Stopped: a signal came while it was trained.
        """
        settings = self.training(adapter, seed)
        key = digest(json.dumps(self._made_from(adapter, seed), sort_keys=True).encode(), self.models.encode())
        folder = self.settings.output / "adapters" / f"{slug(adapter.name)}-{seed}-{key}"
        path = folder / "adapter.safetensors"
        if not path.is_file():
            data = self.prepare(adapter.reference)
            self.say(f"training {adapter.name}, seed {seed}, {settings.run.steps} steps: {folder}")
            if train(replace(settings, data=replace(settings.data, train=str(data))), folder, resume=True) is None:
                raise Stopped
        return path

    def _made_from(self, adapter: Trained, seed: int) -> dict:
        return {
            "training": config_to_dict(self.training(adapter, seed)),
            "data": config_to_dict(self.data(adapter.reference)),
        }

    def measured(self, row: Row) -> Measured | None:
        """Metrics (people, prompts x seeds, ...) of a row, of all its seeds that are finished, and `frames` of some
        people; None if no seed is.

        The clips of all seeds start from the same noise.
        """
        parts = self.finished(row)
        if not parts:
            return None
        return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}

    def finished(self, row: Row) -> list[Measured]:
        """The metrics of each finished seed of a row."""
        return [part for part in (self._read(row, seed) for seed in range(row.seeds)) if part]

    def _read(self, row: Row, seed: int) -> Measured | None:
        if (row.name, seed) not in self._rows:
            self._rows[row.name, seed] = read_row(self._file(row, seed), self._facts(row, seed))
        return self._rows[row.name, seed]

    def make(self, row: Row, seed: int) -> None:
        """Trains and measures what is missing of a row.

        Raises:
            Stopped: a signal came while its adapter was trained.
        """
        if self._read(row, seed) is None:
            self.say(f"{row.name}, seed {seed}")
            facts = self._facts(row, seed)  # before hours pass in which somebody edits the settings
            write_row(self._file(row, seed), self._measure(row, self._adapter_of(row, seed)), facts)
            del self._rows[row.name, seed]

    def _file(self, row: Row, seed: int) -> Path:
        return self.settings.rows / f"{slug(row.name)}-{seed}.safetensors"

    def _facts(self, row: Row, seed: int) -> dict:
        """Everything that makes a row what it is."""
        s = self.settings
        facts = {
            "usage": asdict(row.usage), "with_identity": row.with_identity, "people": s.people, "prompts": s.prompts,
            "seed": s.seed, "models": self.models, "judges": self.judges,
            "compute_dtype": self.base.model.compute_dtype,
        }  # fmt: skip
        if row.adapter == SHIPPED:
            there = has_part("adapter", s.weights)
            return facts | {"adapter": self._content(("adapter",)) if there else None}
        return facts | (self._made_from(ADAPTERS[row.adapter], seed) if row.adapter else {DRAWN: row.name})

    def _adapter_of(self, row: Row, seed: int) -> Path | None:
        if row.adapter is None:
            return None
        if row.adapter == SHIPPED:
            return part_path("adapter", self.settings.weights)
        return self.trained(ADAPTERS[row.adapter], seed)

    def _measure(self, row: Row, path: Path | None) -> Measured:
        if row.name == GROUND_TRUTH:
            clips = torch.stack([self.studio.ground_truth(subject) for subject in self.subjects])
        else:
            clips = self.studio.generated(SYSTEM, path, self.subjects, self.settings.seed, row.usage, row.with_identity)
        frames = clips[:SHOWN, :1, :: clips.shape[2] // 2]  # the first, the middle and the last
        measured = self.metrics.measure(clips) | {"frames": (frames * 255).round().byte().numpy()}
        adapter = load_adapter(path) if path is not None and row.with_identity else None
        return measured | (self._slots(row, adapter) if adapter is not None else {})

    def _slots(self, row: Row, adapter: SlotIDAdapter) -> Measured:
        """How the slots read the references of the row's people, (people, 1) each; nothing if there are no slots."""
        if adapter.encoder is None or adapter.encoder.config.architecture != "slots":
            return {}
        read = [self.studio.conditions(subject, row.usage.reference, ("reference",)) for subject in self.subjects]
        figures = behaviour(adapter.encoder, torch.cat([conditions["reference"] for conditions in read]))
        return {f"slots.{name}": values[:, None] for name, values in figures.items()}


def digest(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:12]


def slug(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter == "." else "_" for letter in name)
