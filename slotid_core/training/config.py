"""Settings of a training run, read from YAML or JSON; an unknown setting is an error."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..config import config_from_dict, config_to_dict, read_settings
from ..errors import SlotIDError
from ..model_files import model_file
from ..ranges import Many, Share, Step, check_ranges
from ..systems.contract import SharedObjective, StrategySettings
from ..systems.registry import DEFAULT, objective_settings_of, shipped_part_of, strategy_of
from .renamed import with_new_names

BaseDtype = Literal["float32", "bfloat16", "float8_e4m3fn"]
Distribution = Literal["ddp", "fsdp"]
OptimizerKind = Literal["adamw", "adamw_8bit", "schedule_free"]
Pairing = Literal["other clip", "same clip"]
PAIR_KINDS = ("other clip", "same clip", "augmented")


@dataclass(frozen=True)
class DataConfig:
    """Prepared samples (see `slotid_core.dataset`).

    Attributes:
        train: folder of samples to train on.
        validation: folder of samples of other people; without one there is no validation.
        pairing: "other clip" takes the reference from another clip of the person where there is one, so that copying
            the clip does not pay, and else from another window of the same clip; "same clip" never does.
        more: folders of further samples to train on, prepared at other sizes of the video; people of one name are the
            same in all. Needs run.pack_tokens where their sizes differ.
        weights: how often a sample is of `train` and of each folder in `more`, such as (3, 1); by default every sample
            of all folders comes equally often.
        pairs: weights of kinds of pairs, drawn for each sample, in place of `pairing`: "other clip", "same clip", and
            "augmented", one of the clip's own reference's prepared looks (`looks` of the preparation).
        least_resemblance: cosine of the face embeddings below which two clips that are said to show one person make no
            pair; 0 asks nobody. Needs data with face embeddings.
        expected_size: frames (4n+1), height and width in pixels that a dry run counts with where the data is not yet
            here; by default Slot-ID's (section 4.1).
    """

    train: str
    validation: str = ""
    pairing: Pairing = "other clip"
    more: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    pairs: dict = field(default_factory=dict)
    least_resemblance: Share = 0.0
    expected_size: tuple[int, int, int] = (65, 480, 720)

    def __post_init__(self):
        check_ranges(self)
        frames, height, width = self.expected_size
        if frames < 1 or frames % 4 != 1 or min(height, width) < 16 or height % 16 or width % 16:
            raise SlotIDError(
                f"data.expected_size is {self.expected_size}; give 4n+1 frames, and multiples of 16 pixels."
            )
        unknown = sorted(set(self.pairs) - set(PAIR_KINDS))
        if unknown:
            raise SlotIDError(f"data.pairs has {unknown[0]!r}; kinds of pairs are {', '.join(PAIR_KINDS)}.")
        weights = self.pairs.values()
        if self.pairs and not (all(isinstance(w, int | float) and w >= 0 for w in weights) and sum(weights) > 0):
            raise SlotIDError(f"data.pairs is {self.pairs}; weights must not be negative, and one must be above 0.")


@dataclass(frozen=True)
class BackboneConfig:
    """The frozen video model.

    Attributes:
        path: a Wan 2.1 or 2.2 diffusion model, or "toy_world". Files in fp8 or INT8 with scales (.safetensors) and GGUF
            are read as well.
        shape: "1.3B" or "14B", for `--dry-run` on a machine that does not have the file.
        dtype: of the frozen weights; "float8_e4m3fn" halves them again, computing in bfloat16, and keeps what the file
            has in eight bits as it is.
        compute_dtype: of activations; weights that train stay in float32.
        activation_checkpointing: keep only the input of each block, and compute it again in the backward pass.
        swapped_blocks: blocks whose frozen weights stay in the host's memory and come to the GPU for each pass; see
            `block_swap`. Needs activation_checkpointing; the result is the same.
        low_noise_path: the low-noise expert of Wan 2.2, where `path` is the high-noise one; one adapter learns with
            both.
        compile: compile each block (`torch.compile`), which takes minutes at the start and makes steps faster on GPUs;
            the result differs by rounding. Not with swapped_blocks.
        boundary: noise level from which on the high-noise expert predicts: Wan 2.2's are 0.875 for text-to-video and
            0.9 for image-to-video.
        expert_steps: steps for which one expert stays on the GPU before the next is drawn.
    """

    path: str
    shape: Literal["", "1.3B", "14B"] = ""
    dtype: BaseDtype = "bfloat16"
    compute_dtype: Literal["float32", "bfloat16"] = "bfloat16"
    activation_checkpointing: bool = False
    swapped_blocks: Step = 0
    compile: bool = False
    low_noise_path: str = ""
    boundary: Share = 0.875
    expert_steps: Many = 1

    def __post_init__(self):
        check_ranges(self)
        if self.compile and self.swapped_blocks:
            raise SlotIDError(
                f"model.compile is set and model.swapped_blocks is {self.swapped_blocks}; a compiled block cannot "
                "change its weights. Leave one of them out."
            )
        if self.low_noise_path and not 0 < self.boundary < 1:
            raise SlotIDError(
                f"model.boundary is {self.boundary}, and each of two experts needs noise levels. Set it to 0.875 for "
                "text-to-video, or 0.9 for image-to-video."
            )


@dataclass(frozen=True)
class ObjectiveConfig(SharedObjective):
    """The objective that all systems share, and `own`: the settings of the system's own part."""

    own: dict = field(default_factory=dict)


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, linear warm-up, then a cosine down to `final_fraction` of the learning rate.

    `kind`: "adamw"; "adamw_8bit", the same with moments in eight bits, on GPUs; "schedule_free", whose learning rate
    stays after the warm-up, so that a run may end anywhere, and which keeps its own average. See `optimizer_kinds`.
    `lr_multipliers`: factors on the learning rate by group of parameters; the system's README lists its groups.
    `max_grad_norm`: gradients are clipped to this norm.
    """

    kind: OptimizerKind = "adamw"
    learning_rate: float = 1e-4
    lr_multipliers: dict = field(default_factory=dict)
    warmup_steps: int = 200
    final_fraction: float = 0.1
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.99
    max_grad_norm: float = 1.0


@dataclass(frozen=True)
class RunConfig:
    """How long, how large, and what is written when.

    Attributes:
        steps: optimiser steps.
        batch: samples a step, over all processes; the result does not depend on how many there are.
        micro_batch: samples a process holds at once; the rest of its share is accumulated.
        pack_tokens: in place of `micro_batch`, video tokens that a process holds at once: samples of any sizes and
            lengths up to so many become one sequence, without padding. 0 packs nothing. The result is the same.
        image_steps: first steps, in which every sample is a picture, the first frame of its clip.
        image_share: share of pictures among the samples of later steps; needs `pack_tokens`.
        ema_decay: of the moving average of the weights, which is what is exported; 0 keeps none.
        save_every, keep_last: steps between checkpoints, and how many of them stay.
        validate_every, validation_samples: steps between validations, 0 for none, and how many held-out samples.
        sample_every: steps between sheets of sample clips of held-out people; 0 for none.
        sample_prompts: what the sheets show, in turn; by default the held-out clips' own captions. Needs the text
            encoder that the data was prepared with.
        sample_strengths: further strengths of the person, such as (0.5, 1.5), each a row of the sheets below that at 1.
        vae: a Wan 2.1 VAE (.safetensors) to decode them, or "toy_world"; default: the one that the data was made with.
        distribution: "fsdp" shards the frozen backbone over processes too.
        context_parallel: processes that compute each sample together, each a part of its tokens: activations and time
            of long clips are divided by it. It divides the processes and the model's attention heads.
        loss_spike_factor: stop when the loss is this many times its running mean.
        stalled_after: seconds without progress after which the run says what it waits for; 0 never does.
        start_from: an adapter file whose weights the run starts with, or "toy_world" for the one that ships for the
            system; steps, learning rate and optimiser start anew, and so does all that is annealed by step.
    """

    steps: Many
    batch: Many = 8
    micro_batch: Many = 8
    pack_tokens: Step = 0
    image_steps: Step = 0
    image_share: Share = 0.0
    seed: int = 0
    ema_decay: Share = 0.999
    save_every: Many = 500
    keep_last: Many = 3
    validate_every: Step = 500
    validation_samples: Many = 64
    sample_every: Step = 0
    sample_prompts: tuple[str, ...] = ()
    sample_strengths: tuple[float, ...] = ()
    vae: str = ""
    distribution: Distribution = "ddp"
    context_parallel: Many = 1
    loss_spike_factor: float = 20.0
    stalled_after: float = 600.0
    start_from: str = ""

    def __post_init__(self):
        check_ranges(self)
        if not self.stalled_after >= 0:
            raise SlotIDError(f"run.stalled_after is {self.stalled_after}; give seconds, or 0 to hear nothing.")
        if self.image_share and not self.pack_tokens:
            raise SlotIDError(
                f"run.image_share is {self.image_share}, and pictures and clips in one step need packing. Set "
                "run.pack_tokens, or image_share to 0."
            )
        if self.context_parallel > 1 and self.pack_tokens:
            raise SlotIDError(
                f"run.context_parallel is {self.context_parallel}, which shares one sample's tokens, and "
                f"run.pack_tokens is {self.pack_tokens}, which joins those of several. Set one of them."
            )


@dataclass(frozen=True)
class TrainingConfig:
    """`system` is a name of `systems.registry`; `adapter` are settings of its adapter, in which the backbone's width
    and depth are filled in."""

    data: DataConfig
    model: BackboneConfig
    run: RunConfig
    system: str = DEFAULT
    adapter: dict = field(default_factory=dict)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self):
        self.own_objective()  # refuses what the system does not know, before anything is loaded
        if self.run.context_parallel > 1 and not getattr(strategy_of(self.system), "splits_sequences", False):
            raise SlotIDError(
                f"run.context_parallel is {self.run.context_parallel}, and {self.system} looks at all tokens of a "
                "sample at once. Set it to 1."
            )

    def own_objective(self) -> Any:
        """The system's own part of the objective, as its dataclass."""
        return config_from_dict(objective_settings_of(self.system), self.objective.own)

    def strategy_settings(self, data: Mapping | None = None) -> StrategySettings:
        """What the strategy is built from; `data` are settings that the data was prepared with."""
        start = self.start_file()
        return StrategySettings(
            self.adapter,
            self.objective,
            self.own_objective(),
            self.run.steps,
            str(start) if start else "",
            data or {},
        )

    def start_file(self) -> Path | None:
        """The adapter that the run starts with, if with any; of the toy world, the system's own."""
        start = self.run.start_from
        return model_file(start, shipped_part_of(self.system)) if start else None


# What a resumed run may be given anew, as nothing that is learnt depends on it. Any other change is refused (`resume`).
MAY_CHANGE = frozenset({
    "data.train",  # a folder may move: the content of its manifest is compared
    "data.validation",
    "data.more",
    "data.expected_size",
    "model.shape",
    "model.activation_checkpointing",
    "model.swapped_blocks",
    "run.micro_batch",
    "run.pack_tokens",
    "run.save_every",
    "run.keep_last",
    "run.validate_every",
    "run.validation_samples",
    "run.sample_every",
    "run.sample_prompts",
    "run.sample_strengths",
    "run.vae",
    "run.distribution",
    "run.context_parallel",
    "run.loss_spike_factor",
    "run.stalled_after",
})  # fmt: skip
MAY_GROW = frozenset({"run.steps"})
# Files, which may move as well: what is in them is compared.
FILES = frozenset({"model.path", "model.low_noise_path", "run.start_from"})


def config_from_settings(values: dict, warn: bool = True) -> TrainingConfig:
    """A configuration from settings as a recipe or a checkpoint holds them, with names of earlier releases."""
    own = objective_settings_of(values.get("system", DEFAULT))
    return config_from_dict(TrainingConfig, with_new_names(values, own, warn))


def read_config(path: Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """The settings in a file, with `overrides` such as "run.steps=100" on top."""
    if not path.is_file():
        raise SlotIDError(f"There is no configuration file {path}.")
    try:
        values = read_settings(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SlotIDError(f"{path} cannot be read as YAML or JSON: {error}") from error
    if not isinstance(values, dict):
        raise SlotIDError(f"{path} holds no settings.")
    values = with_new_names(values, objective_settings_of(values.get("system", DEFAULT)))
    for override in overrides:
        override_setting(values, override)
    return config_from_settings(values)


def override_setting(values: dict, override: str) -> None:
    """Put "name=value", with dots in the name for sections, into settings."""
    name, separator, value = override.partition("=")
    if not separator:
        raise SlotIDError(f"--set takes name=value, such as run.steps=100; got {override!r}.")
    *parents, last = name.split(".")
    place = values
    for parent in parents:
        place = place.setdefault(parent, {})
    try:
        place[last] = read_settings(value)
    except ValueError as error:
        raise SlotIDError(f"--set {override!r} cannot be read as YAML or JSON: {error}") from error


def config_to_json(config: TrainingConfig) -> str:
    return json.dumps(config_to_dict(config), sort_keys=True)
