"""Makes each piece of a study once and keeps it: data, adapters, and the metrics of each row."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from slotid_core.config import config_to_dict
from slotid_core.dataset.config import PrepareConfig
from slotid_core.dataset.config import read_config as read_data_config
from slotid_core.dataset.runner import prepare_dataset
from slotid_core.errors import SlotIDError
from slotid_core.evaluation.metrics import Metrics
from slotid_core.evaluation.subjects import Subject, subjects_of
from slotid_core.evaluation.variants import Row as PlainRow
from slotid_core.systems.slot_id import SlotIDAdapter, load_adapter
from slotid_core.toy_world.family import WEIGHTS, has_part, part_path
from slotid_core.training.config import TrainingConfig, read_config
from slotid_core.training.loop import train
from studies.slot_id.people import DEVELOPMENT_SEED, EARLIER, REPORTED_SEED, People, sets_of
from studies.slot_id.plan import ADAPTERS, SHIPPED, Row, Trained
from studies.slot_id.row_files import DRAWN, Measured, different_facts, read_row, write_row
from studies.slot_id.slot_behaviour import behaviour
from studies.slot_id.studio import SYSTEM, StreamStudio, StudyUsage

MODELS, JUDGES = ("vae", "text_encoder", "dit"), ("face_judge", "clip_judge", "mark_judge")
SHOWN = 8  # people of whom frames are kept for the contact sheet


class Stopped(Exception):
    """A signal came; what is finished is kept."""


@dataclass(frozen=True)
class StudySettings:
    """What is made where, and on how many held-out people rows are measured.

    `training` is the file of settings that all adapters start from, `steps` the full budget; `data` is the file of
    settings of the people to train on. `output` gets what is large: data and adapters. `rows` gets the metrics.
    `seed` says which people figures are reported on, `development_seed` on which defaults are chosen.
    """

    training: Path
    data: Path
    output: Path
    rows: Path
    steps: int
    people: int = 64
    seed: int = REPORTED_SEED
    development_seed: int = DEVELOPMENT_SEED
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
        if settings.seed == settings.development_seed:
            raise SlotIDError("Defaults are chosen on other people than they are reported on. Give two seeds.")
        self.sets = sets_of(settings.people, settings.seed, settings.development_seed)
        self.models, self.judges = self._content(MODELS), self._content(JUDGES)
        self._rows: dict[tuple[str, int, str], Measured | None] = {}
        self._metrics: dict[str, Metrics] = {}

    def _content(self, parts: tuple[str, ...]) -> str:
        return digest(*(part_path(part, self.settings.weights).read_bytes() for part in parts))

    @property
    def third(self) -> int:
        return round(self.base.run.steps / 3)

    @cached_property
    def studio(self) -> StreamStudio:
        return StreamStudio(None, StudyUsage(), self.settings.weights, self.base.model.compute_dtype)

    def subjects(self, people: People) -> list[Subject]:
        """The people in scenes of today. An earlier release drew the same people in other scenes."""
        return subjects_of(people.seed, people.count, people.prompts, balanced=True)

    def metrics(self, people: People) -> Metrics:
        if people.name not in self._metrics:
            self._metrics[people.name] = Metrics(self.studio, self.subjects(people), people.seed)
        return self._metrics[people.name]

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
        path = self.adapter_path(adapter, seed)
        if not path.is_file():
            settings, folder = self.training(adapter, seed), path.parent
            data = self.prepare(adapter.reference)
            self.say(f"training {adapter.name}, seed {seed}, {settings.run.steps} steps: {folder}")
            if train(replace(settings, data=replace(settings.data, train=str(data))), folder, resume=True) is None:
                raise Stopped
        return path

    def adapter_path(self, adapter: Trained, seed: int) -> Path:
        """Where an adapter is, or will be: its folder has the hash of all that it is made from."""
        key = digest(json.dumps(self._made_from(adapter, seed), sort_keys=True).encode(), self.models.encode())
        return self.settings.output / "adapters" / f"{slug(adapter.name)}-{seed}-{key}" / "adapter.safetensors"

    def _made_from(self, adapter: Trained, seed: int) -> dict:
        return {
            "training": config_to_dict(self.training(adapter, seed)),
            "data": config_to_dict(self.data(adapter.reference)),
        }

    def finished(self, row: Row, people: People) -> dict[int, Measured]:
        """Metrics (people, prompts, ...) and `frames` of some people, by training seed.

        The clips of all seeds start from the same noise.
        """
        parts = {seed: self._read(row, seed, people) for seed in range(row.seeds)}
        return {seed: part for seed, part in parts.items() if part is not None}

    def _read(self, row: Row, seed: int, people: People) -> Measured | None:
        key = (row.name, seed, people.name)
        if key not in self._rows:
            path, facts = self._file(row, seed, people), self._facts(row, seed, people)
            but = ("models",) if people.name == EARLIER else ()  # an earlier release had a video model of its own
            self._rows[key] = read_row(path, facts, but)
            if self._rows[key] is None and path.is_file():
                others = ", ".join(different_facts(path, facts, but))
                self.say(f"{path.name} of the {people.name} people does not count: it was made with other {others}.")
        return self._rows[key]

    def make(self, row: Row, seed: int, people: People) -> None:
        """Trains and measures what is missing of a row.

        Raises:
            Stopped: a signal came while its adapter was trained.
        """
        if self._read(row, seed, people) is None:
            self.say(f"{row.name}, seed {seed}, {people.name} people")
            facts = self._facts(row, seed, people)  # before hours pass in which somebody edits the settings
            measured = self._measure(row, self._adapter_of(row, seed), people)
            write_row(self._file(row, seed, people), measured, facts)
            del self._rows[row.name, seed, people.name]

    def _file(self, row: Row, seed: int, people: People) -> Path:
        folder = self.settings.rows if people.name == EARLIER else self.settings.rows / people.name
        return folder / f"{slug(row.name)}-{seed}.safetensors"

    def _facts(self, row: Row, seed: int, people: People) -> dict:
        """Everything that makes a row what it is."""
        facts = {
            "usage": asdict(row.usage), "with_identity": row.with_identity, "models": self.models,
            "judges": self.judges, "compute_dtype": self.base.model.compute_dtype, **people.facts,
        }  # fmt: skip
        if row.adapter == SHIPPED:
            there = has_part("adapter", self.settings.weights)
            return facts | {"adapter": self._content(("adapter",)) if there else None}
        return facts | (self._made_from(ADAPTERS[row.adapter], seed) if row.adapter else {DRAWN: row.name})

    def _adapter_of(self, row: Row, seed: int) -> Path | None:
        if row.adapter is None:
            return None
        if row.adapter == SHIPPED:
            return part_path("adapter", self.settings.weights)
        return self.trained(ADAPTERS[row.adapter], seed)

    def _measure(self, row: Row, path: Path | None, people: People) -> Measured:
        subjects = self.subjects(people)
        if path is None:
            clips = self.studio.clips(PlainRow(row.name), subjects, people.seed)
        else:
            clips = self.studio.generated(SYSTEM, path, subjects, people.seed, row.usage, row.with_identity)
        frames = clips[:SHOWN, :1, :: clips.shape[2] // 2]  # the first, the middle and the last
        measured = self.metrics(people).measure(clips) | {"frames": (frames * 255).round().byte().numpy()}
        adapter = load_adapter(path) if path is not None and row.with_identity else None
        return measured | (self._slots(row, adapter, subjects) if adapter is not None else {})

    def _slots(self, row: Row, adapter: SlotIDAdapter, subjects: list[Subject]) -> Measured:
        """How the slots read the references of the row's people, (people, 1) each; nothing if there are no slots."""
        if adapter.encoder is None or adapter.encoder.config.architecture != "slots":
            return {}
        read = [self.studio.conditions(subject, row.usage.reference, ("reference",)) for subject in subjects]
        figures = behaviour(adapter.encoder, torch.cat([conditions["reference"] for conditions in read]))
        return {f"slots.{name}": values[:, None] for name, values in figures.items()}


def digest(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:12]


def slug(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter == "." else "_" for letter in name)
