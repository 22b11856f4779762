"""Makes each piece of a study once: data, adapters, and what the judges say. All of it is kept and found by content."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from ...dataset.cached import CachedDataset
from ...dataset.config import read_config as read_data_config
from ...dataset.manifest import MANIFEST
from ...dataset.runner import prepare_dataset
from ...slot_id import load_adapter
from ...toy_world.family import WEIGHTS, has_part, part_path
from ...training.config import TrainingConfig, config_to_json, read_config
from ...training.loop import train
from ...weights import read_header, read_tensors, save_weights
from ..rows import Studio, Subject
from ..toy import Judgement, subjects_of
from ..usage import Usage
from .plan import ADAPTERS, SHIPPED, Row, Trained
from .slot_behaviour import behaviour

KIND, VERSION = "study_row", 1
Judged = dict[str, np.ndarray]
MODELS, JUDGES = ("vae", "text_encoder", "dit"), ("face_judge", "clip_judge", "mark_judge")
SHOWN = 8  # people of whom frames are kept for the contact sheet


class Stopped(Exception):
    """A signal came; what is finished is kept."""


@dataclass(frozen=True)
class StudySettings:
    """Where settings and results lie, and how many held-out people are drawn, each in `prompts` scenes.

    `training` are the settings of `full`, `steps` the full budget; `data` those of the people to train on.
    """

    training: Path
    data: Path
    output: Path
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
        self.models = self._content(MODELS)
        self._places: dict[tuple[str, int], tuple[Path, TrainingConfig]] = {}
        self._rows: dict[tuple[str, int], Judged] = {}

    def _content(self, parts: tuple[str, ...]) -> str:
        return digest(*(part_path(part, self.settings.weights).read_bytes() for part in parts))

    @cached_property
    def judges(self) -> str:
        return self._content(JUDGES)

    @property
    def third(self) -> int:
        return round(self.base.run.steps / 3)

    @cached_property
    def subjects(self) -> list[Subject]:
        s = self.settings
        return subjects_of(s.seed, s.people, s.prompts, look_around=True)

    @cached_property
    def studio(self) -> Studio:
        return Studio(None, Usage(), self.settings.weights, self.base.model.compute_dtype)

    @cached_property
    def judgement(self) -> Judgement:
        return Judgement(self.studio, self.subjects, self.settings.seed)

    def data(self, reference: str) -> Path:
        """Folder of people whose face clips are of this kind."""
        folder = Path(self.base.data.train)
        if reference != "other clip":
            folder = folder.with_name(f"{folder.name}_{reference.replace(' ', '_')}")
        return folder

    def prepare(self, reference: str) -> None:
        folder = self.data(reference)
        if not (folder / MANIFEST).is_file():
            config = read_data_config(self.settings.data)
            self.say(f"preparing {folder}")
            shared = 0 if reference == "same clip" else config.toy_world.references_per_person
            people = replace(config.toy_world, reference=reference, references_per_person=shared)
            prepare_dataset(replace(config, toy_world=people), folder)

    def adapter_file(self, adapter: Trained, seed: int = 0) -> Path | None:
        """An adapter of the plan, or None if it has not been trained."""
        if not (self.data(adapter.reference) / MANIFEST).is_file():
            return None
        path = self.place(adapter, seed)[0] / "adapter.safetensors"
        return path if path.is_file() else None

    def place(self, adapter: Trained, seed: int) -> tuple[Path, TrainingConfig]:
        """Folder of an adapter, by everything that makes it what it is, and its settings; the data must be there."""
        if (adapter.name, seed) not in self._places:
            self._places[adapter.name, seed] = self._place(adapter, seed)
        return self._places[adapter.name, seed]

    def _place(self, adapter: Trained, seed: int) -> tuple[Path, TrainingConfig]:
        steps = self.base.run.steps if adapter.budget == "full" else self.third
        data = self.data(adapter.reference)
        changes = [*self.settings.overrides, *adapter.changes, f"data.train={data}", f"run.seed={seed}"]
        settings = read_config(self.settings.training, [*changes, f"run.steps={steps}"])
        key = digest(
            config_to_json(settings).encode(), CachedDataset(data).manifest_hash.encode(), self.models.encode()
        )
        return self.settings.output / "adapters" / f"{slug(adapter.name)}-{seed}-{key}", settings

    def trained(self, adapter: Trained, seed: int = 0) -> Path:
        """The adapter file; trained now, from its last checkpoint, if it is not there.

        Raises:
            Stopped: a signal came while it was trained.
        """
        self.prepare(adapter.reference)
        folder, settings = self.place(adapter, seed)
        path = folder / "adapter.safetensors"
        if not path.is_file():
            self.say(f"training {adapter.name}, seed {seed}, {settings.run.steps} steps: {folder}")
            if train(settings, folder, resume=True) is None:
                raise Stopped
        return path

    def judged(self, row: Row) -> Judged | None:
        """Figures (people, prompts x seeds, ...) of a row, of all its seeds that are finished, and `frames` of some
        people; None if no seed is.

        All seeds are drawn from the same noise.
        """
        parts = self.finished(row)
        if not parts:
            return None
        return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}

    def finished(self, row: Row) -> list[Judged]:
        """The figures of each seed of a row that there is."""
        return [part for part in (self._judged(row, seed, make=False) for seed in range(row.seeds)) if part]

    def make(self, row: Row, seed: int) -> None:
        """Trains and judges what is missing of a row.

        Raises:
            Stopped: a signal came while its adapter was trained.
        """
        self._judged(row, seed, make=True)

    def _judged(self, row: Row, seed: int, make: bool) -> Judged | None:
        if (row.name, seed) in self._rows:
            return self._rows[row.name, seed]
        adapter = self._adapter_of(row, seed, make)
        if adapter is None and row.adapter is not None:
            return None
        s = self.settings
        facts = {
            "adapter": load_adapter(adapter).fingerprint if adapter else row.name, "usage": asdict(row.usage),
            "with_identity": row.with_identity, "people": s.people, "prompts": s.prompts, "seed": s.seed,
            "models": self.models, "judges": self.judges, "compute_dtype": self.base.model.compute_dtype,
        }  # fmt: skip
        key = digest(json.dumps(facts, sort_keys=True).encode())
        path = s.output / "judged" / f"{slug(row.adapter or row.name)}-{seed}-{key}.safetensors"
        if not path.is_file():
            if not make:
                return None
            self.say(f"drawing and judging {row.name}, seed {seed}")
            self._judge(row, adapter, path, facts)
        read_header(path, KIND, VERSION)
        self._rows[row.name, seed] = {name: tensor.numpy() for name, tensor in read_tensors(path)[0].items()}
        return self._rows[row.name, seed]

    def _adapter_of(self, row: Row, seed: int, make: bool) -> Path | None:
        if row.adapter is None:
            return None
        if row.adapter == SHIPPED:
            there = make or has_part("adapter", self.settings.weights)
            return part_path("adapter", self.settings.weights) if there else None
        trained = ADAPTERS[row.adapter]
        return self.trained(trained, seed) if make else self.adapter_file(trained, seed)

    def _judge(self, row: Row, adapter: Path | None, path: Path, facts: dict) -> None:
        if row.name == "ceiling":
            clips = torch.stack([self.studio.real(subject) for subject in self.subjects])
        else:
            clips = self.studio.generated(adapter, self.subjects, self.settings.seed, row.usage, row.with_identity)
        told = {name: torch.from_numpy(values) for name, values in self.judgement.judge(clips).items()}
        frames = clips[:SHOWN, :1, :: clips.shape[2] // 2]  # the first, the middle and the last
        told["frames"] = (frames * 255).round().to(torch.uint8)
        save_weights(path, told, {"kind": KIND, "version": VERSION, **facts})

    def slots(self, adapter: Trained, seed: int = 0) -> Judged | None:
        """How the slots of a trained adapter read the references of the study's people; None without it, or slots."""
        trained = self.adapter_file(adapter, seed)
        if trained is None:
            return None
        encoder = load_adapter(trained).encoder
        if encoder is None or encoder.config.architecture != "slots":
            return None
        path = trained.with_name(f"slots-{self.settings.people}-{self.settings.seed}.safetensors")
        if not path.is_file():
            latents = [self.studio.reference(subject, Usage().reference)[0] for subject in self.subjects]
            told = {name: torch.from_numpy(values) for name, values in behaviour(encoder, torch.cat(latents)).items()}
            save_weights(path, told, {"kind": KIND, "version": VERSION})
        return {name: tensor.numpy() for name, tensor in read_tensors(path)[0].items()}


def digest(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:12]


def slug(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter == "." else "_" for letter in name)
