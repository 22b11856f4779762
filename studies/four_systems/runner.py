"""Makes each piece once and keeps it: data, adapters, results."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from slotid_core.config import config_to_dict
from slotid_core.dataset.config import PrepareConfig
from slotid_core.dataset.config import read_config as read_data_config
from slotid_core.dataset.runner import prepare_dataset
from slotid_core.errors import SlotIDError
from slotid_core.evaluation.copying import Copying
from slotid_core.evaluation.long_clips import Length, LongStudio
from slotid_core.evaluation.metrics import Metrics
from slotid_core.evaluation.over_time import EVERY, OverTime, summary
from slotid_core.evaluation.studio import Studio
from slotid_core.evaluation.subjects import Subject, subjects_of
from slotid_core.evaluation.usage import Usage
from slotid_core.evaluation.variants import FULL
from slotid_core.evaluation.variants import Row as PlainRow
from slotid_core.systems.registry import inference_of, refinement_of
from slotid_core.toy_world.family import WEIGHTS, part_path
from slotid_core.training.config import TrainingConfig, read_config
from slotid_core.training.loop import train
from studies.four_systems.cost import cost_of
from studies.four_systems.plan import (
    BATCH,
    BEFORE,
    DATA,
    LONG_FRAMES,
    OBJECTIVE,
    PEOPLE,
    PROMPTS,
    RECIPES,
    REFINEMENT,
    REFINEMENT_RECIPE,
    ROWS,
    STEPS,
    Row,
)
from studies.four_systems.results import Measured, file_of, read_result, write_frames, write_result

ROOT = Path(__file__).parents[2]
TRAINING = ROOT / "slotid_core/training/configs"
PREPARATION = ROOT / "slotid_core/dataset/configs"
MODELS, JUDGES = ("vae", "text_encoder", "dit", "face_recogniser"), ("face_judge", "clip_judge", "mark_judge")
SHOWN = 8  # people on the sheet
NOWHERE = ("data.train=", "data.validation=")


class Stopped(Exception):
    """A signal came; what is finished is kept."""


@dataclass(frozen=True)
class Settings:
    """`output` gets what is large: data and adapters. `results` gets the files that the page is written from.

    `people`, `prompts`, `seed`: on whom figures are measured. `long_people`: of whom long videos are drawn.
    """

    output: Path
    results: Path
    people: int = PEOPLE
    prompts: int = PROMPTS
    long_people: int = 16
    seed: int = 20
    steps: int = STEPS
    batch: int = BATCH
    long_frames: int = LONG_FRAMES
    sampling_steps: int = Usage().steps
    drawn_people: int = 0  # to train on; 0 for those of the data's settings
    data: Path | None = None  # folder of the people to train on, prepared or to be; None for one in `output`
    weights: Path = WEIGHTS


class Study:
    def __init__(self, settings: Settings, say: Callable[[str], None] = print):
        self.settings, self.say = settings, say

    @cached_property
    def data_settings(self) -> PrepareConfig:
        settings = read_data_config(PREPARATION / f"{DATA}.yaml")
        source = settings.toy_world
        if not self.settings.drawn_people or source is None:
            return settings
        return replace(settings, toy_world=replace(source, people=self.settings.drawn_people))

    def data(self) -> Path:
        folder = self.settings.data or self.settings.output / "data"
        self.say(f"people to train on: {folder}")
        prepare_dataset(self.data_settings, folder)
        return folder

    def training(self, system: str, variant: str, seed: int, *more: str) -> TrainingConfig:
        """Settings of an adapter at the common budget."""
        changes = inference_of(system).variants[variant].changes
        budget = (f"run.steps={self.settings.steps}", f"run.batch={self.settings.batch}", f"run.seed={seed}")
        quiet = ("run.validate_every=0", "run.sample_every=0")
        return read_config(
            TRAINING / f"{RECIPES[system]}.yaml", [*budget, *OBJECTIVE, *quiet, *changes, *NOWHERE, *more]
        )

    def adapter_path(self, row: Row, seed: int) -> Path:
        key = digest(config_text(self.training(row.system, row.trained, seed)), self.models, self.data_hash)
        return self.settings.output / f"{row.system}-{row.trained}-{seed}-{key}" / "adapter.safetensors"

    @cached_property
    def data_hash(self) -> str:
        return digest(config_text(self.data_settings))

    @cached_property
    def models(self) -> str:
        return digest(*(part_path(part, self.settings.weights).read_bytes() for part in MODELS))

    @cached_property
    def judges(self) -> str:
        return digest(*(part_path(part, self.settings.weights).read_bytes() for part in JUDGES))

    def trained(self, row: Row, seed: int) -> Path:
        """The adapter file; trained now, from its last checkpoint, if it is not there.

        Raises:
            Stopped: a signal came while it was trained.
        """
        path = self.adapter_path(row, seed)
        if path.is_file():
            return path
        more = []
        if row.system in BEFORE:
            recipe, setting = BEFORE[row.system]
            more.append(f"{setting}={self.first(recipe, seed)}")
        self.train(self.training(row.system, row.trained, seed, *more), path)
        return path

    def first(self, recipe: str, seed: int) -> Path:
        """The file of a training that is none of a system's adapter. A short trial trains it as briefly."""
        settings = self.first_settings(recipe, seed)
        key = digest(config_text(settings), self.models, self.data_hash)
        path = self.settings.output / f"{recipe}-{seed}-{key}" / "adapter.safetensors"
        if not path.is_file():
            self.train(settings, path)
        return path

    def first_settings(self, recipe: str, seed: int) -> TrainingConfig:
        settings = read_config(TRAINING / f"{recipe}.yaml", [f"run.seed={seed}", *NOWHERE])
        return replace(settings, run=replace(settings.run, steps=min(settings.run.steps, self.settings.steps)))

    def train(self, settings: TrainingConfig, path: Path) -> None:
        data = self.data()
        self.say(f"training {settings.system}, {settings.run.steps} steps of {settings.run.batch}: {path.parent}")
        if train(replace(settings, data=replace(settings.data, train=str(data))), path.parent, resume=True) is None:
            raise Stopped

    def facts(self, part: str, row: Row, seed: int) -> dict:
        """All that a result is made from."""
        s = self.settings
        made: dict = {"models": self.models, "sampling_steps": s.sampling_steps, "seed": s.seed}
        if part == "toy":
            made |= {"judges": self.judges, "people": s.people, "prompts": s.prompts}
        if part == "long":
            made |= {"judges": self.judges, "people": s.long_people, "frames": s.long_frames}
        if row.system:
            changes = list(inference_of(row.system).variants[row.variant].reads.items())
            trainings = [self.training(one.system, one.trained, seed) for one in self.adapters_of(row)]
            trainings += [self.first_settings(REFINEMENT_RECIPE, seed)] if row.refined else []
            made |= {"training": [config_to_dict(one) for one in trainings], "reads": changes,
                     "data": config_to_dict(self.data_settings), "steps": s.steps, "batch": s.batch}  # fmt: skip
        return made

    def result(self, part: str, row: Row, seed: int) -> Measured | None:
        """What is kept of a measurement, if it was made from what is there today."""
        return read_result(file_of(self.settings.results, part, row.name, seed), self.facts(part, row, seed))

    def missing(self) -> list[tuple[str, Row, int]]:
        """(part, row, training seed) in the order in which they are made: a first seed of everything, then the next."""
        seeds = range(max(row.seeds for row in ROWS))
        wanted = [(part, row, seed) for seed in seeds for row in ROWS for part in row.parts if seed < row.seeds]
        return [job for job in wanted if self.result(*job) is None]

    def make(self, part: str, row: Row, seed: int) -> None:
        paths = [self.trained(one, seed) for one in self.adapters_of(row)]
        refiner = self.first(REFINEMENT_RECIPE, seed) if row.refined else None
        self.say(f"measuring {part} of {row.name}, training seed {seed}")
        measured = self.measured(part, row, paths, refiner)
        target = file_of(self.settings.results, part, row.name, seed)
        if part == "toy":
            frames = measured.pop("frames")
            if seed == 0:
                target.parent.mkdir(parents=True, exist_ok=True)
                write_frames(target.with_suffix(".jpg"), frames)
        write_result(target, measured, self.facts(part, row, seed))

    def measured(self, part: str, row: Row, paths: Sequence[Path], refiner: Path | None) -> dict:
        if part == "cost":
            return self.cost(row, paths[0] if paths else None)
        return self.toy(row, paths) if part == "toy" else self.long(row, paths, refiner)

    def adapters_of(self, row: Row) -> list[Row]:
        """The rows whose trainings this one needs: itself, and that of the second system."""
        if not row.system:
            return []
        return [row, *(one for one in ROWS if one.name == f"{row.also}.{FULL}")]

    def plain(self, row: Row) -> PlainRow:
        return PlainRow(row.name, row.system, inference_of(row.system).variants[row.variant] if row.system else None)

    @cached_property
    def subjects(self) -> list[Subject]:
        return subjects_of(self.settings.seed, self.settings.people, self.settings.prompts, balanced=True)

    @cached_property
    def studio(self) -> Studio:
        return Studio(None, Usage(steps=self.settings.sampling_steps), self.settings.weights, "bfloat16")

    @cached_property
    def metrics(self) -> Metrics:
        return Metrics(self.studio, self.subjects, self.settings.seed)

    @cached_property
    def copying(self) -> Copying:
        return Copying(self.studio, self.subjects)

    def toy(self, row: Row, paths: Sequence[Path]) -> dict:
        clips = self.drawn(self.studio, row, paths, self.subjects)
        return {
            **self.metrics.measure(clips),
            **self.copying.measure(self.plain(row), clips),
            "frames": clips[:SHOWN, 0],
        }

    def long(self, row: Row, paths: Sequence[Path], refiner: Path | None) -> dict:
        """Long videos by chained extension: each figure, and its drift from the first piece to the last."""
        studio = LongStudio(None, Usage(steps=self.settings.sampling_steps), self.settings.weights, "bfloat16")
        studio.length, studio.way = Length(self.settings.long_frames), "chained"
        studio.refiner = refinement_of(REFINEMENT).load(refiner) if refiner is not None else None
        subjects = subjects_of(self.settings.seed, self.settings.long_people, 1)
        metrics = Metrics(studio, subjects, self.settings.seed)
        clips = self.drawn(studio, row, paths, subjects)
        looks = (4 * studio.length.window - 3 + EVERY - 1) // EVERY
        return summary(OverTime(metrics.faces, metrics.gallery).curves(clips), looks)

    def cost(self, row: Row, path: Path | None) -> dict:
        if path is None:
            return cost_of(None, None, self.data())
        unneeded = [f"{BEFORE[row.system][1]}="] if row.system in BEFORE else []
        return cost_of(
            self.training(row.system, row.trained, 0, f"run.start_from={path}", *unneeded), path, self.data()
        )

    def drawn(self, studio: Studio, row: Row, paths: Sequence[Path], subjects: list[Subject]):
        seed, usage = self.settings.seed, studio.usage
        if not paths:
            return studio.clips(self.plain(row), subjects, seed)
        if row.also:
            return studio.by_several(list(zip(row.systems, paths, strict=True)), subjects, seed, usage)
        variant = inference_of(row.system).variants[row.variant]
        return studio.generated(row.system, paths[0], subjects, seed, usage, variant.has_person, reads=variant.reads)


def config_text(config) -> bytes:
    return json.dumps(config_to_dict(config), sort_keys=True).encode()


def digest(*parts: bytes | str) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part if isinstance(part, bytes) else part.encode()).digest())
    return whole.hexdigest()[:12]


def check(settings: Settings) -> None:
    """
    Raises:
        SlotIDError: a number is out of range.
    """
    for name in ("people", "prompts", "long_people", "steps", "batch", "sampling_steps"):
        if getattr(settings, name) < 1:
            raise SlotIDError(f"{name} is {getattr(settings, name)}; it must be at least 1.")
