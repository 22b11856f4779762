"""Settings of a training run, read from YAML or JSON; an unknown setting is an error."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..config import config_from_dict, config_to_dict
from ..errors import SlotIDError

BaseDtype = Literal["float32", "bfloat16", "float8_e4m3fn"]
Distribution = Literal["ddp", "fsdp"]
Pairing = Literal["other clip", "same clip"]


@dataclass(frozen=True)
class DataConfig:
    """Prepared samples (see `slotid_core.dataset`).

    Attributes:
        train: folder of samples to train on.
        validation: folder of samples of other people; without one there is no validation.
        pairing: "other clip" takes the reference from another clip of the person where there is one, so that copying
            the clip does not pay; "same clip" never does.
    """

    train: str
    validation: str = ""
    pairing: Pairing = "other clip"


@dataclass(frozen=True)
class BackboneConfig:
    """The frozen video model.

    Attributes:
        path: a Wan 2.1 or 2.2 diffusion model (.safetensors), or "toy_world".
        shape: "1.3B" or "14B", for `--dry-run` on a machine that does not have the file.
        dtype: of the frozen weights; "float8_e4m3fn" halves them again, computing in bfloat16.
        compute_dtype: of activations; weights that train stay in float32.
        activation_checkpointing: keep only the input of each block, and compute it again in the backward pass.
    """

    path: str
    shape: Literal["", "1.3B", "14B"] = ""
    dtype: BaseDtype = "bfloat16"
    compute_dtype: Literal["float32", "bfloat16"] = "bfloat16"
    activation_checkpointing: bool = False


@dataclass(frozen=True)
class ObjectiveConfig:
    """Flow matching: z_t = (1 - t) z + t ε, the target is ε - z (Slot-ID, section 3.1).

    Attributes:
        timestep_shift: 1 draws t uniformly; more draws higher noise more often, as Wan's sampling schedule does.
        text_dropout, identity_dropout, joint_dropout: shares of samples without prompt, without identity, without
            both; guidance needs them.
        token_dropout: share of identity tokens left out (paper, section 3.3).
        portrait_weight: weight of reading the portrait's latents off the global vectors, by a linear layer that is not
            kept. 0 for the paper's loss alone.
        movement_weight: weight of reading where the training clip moves, and how much, off the clip stream's global
            vector, as `portrait_weight` reads a portrait.
        change_weight: weight of the error's change from frame to frame. Most of a video stands still, so flow matching
            alone says little about how somebody moves. The change is linear in the error: the best velocity stays.
        temperature_start, temperature_end: τ of the Sinkhorn plan, annealed linearly by step ...
        temperature_steps: ... over this share of the run (paper, section 3.2.1: "annealed"; no numbers given).
    """

    timestep_shift: float = 1.0
    text_dropout: float = 0.1
    identity_dropout: float = 0.1
    joint_dropout: float = 0.05
    token_dropout: float = 0.05
    portrait_weight: float = 0.0
    movement_weight: float = 0.0
    change_weight: float = 0.0
    temperature_start: float = 1.0
    temperature_end: float = 0.3
    temperature_steps: float = 0.5

    def __post_init__(self):
        shares = (self.text_dropout, self.identity_dropout, self.joint_dropout)
        if min(shares) < 0 or sum(shares) > 1:
            raise SlotIDError(f"text, identity and joint dropout are shares of one whole; got {shares}.")
        if not 0 <= self.token_dropout < 1:
            raise SlotIDError(f"token_dropout must lie in [0, 1); got {self.token_dropout}.")
        for name in ("portrait_weight", "movement_weight", "change_weight"):
            if getattr(self, name) < 0:
                raise SlotIDError(f"{name} must not be negative; got {getattr(self, name)}.")
        if min(self.temperature_start, self.temperature_end) <= 0:
            raise SlotIDError("temperature_start and temperature_end must be above 0.")

    def temperature(self, step: int, steps: int) -> float:
        progress = min(1.0, step / max(1.0, self.temperature_steps * steps))
        return self.temperature_start + (self.temperature_end - self.temperature_start) * progress


@dataclass(frozen=True)
class ModuleRates:
    """Factors on the learning rate, by module; `tokens` are the last layers before the identity tokens.

    Attention to a token starts at about one part in 512, so what FiLM learns in a step takes tokens many.
    """

    encoder: float = 1.0
    anchor: float = 1.0
    film: float = 1.0
    lora: float = 1.0
    tokens: float = 1.0


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, linear warm-up, then a cosine down to `final_fraction` of the learning rate."""

    learning_rate: float = 1e-4
    rates: ModuleRates = field(default_factory=ModuleRates)
    warmup_steps: int = 200
    final_fraction: float = 0.1
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.99
    clip_norm: float = 1.0


@dataclass(frozen=True)
class RunConfig:
    """How long, how large, and what is written when.

    Attributes:
        steps: optimiser steps.
        batch: samples a step, over all processes; the result does not depend on how many there are.
        micro_batch: samples a process holds at once; the rest of its share is accumulated.
        average: decay of the moving average of the weights, which is what is exported; 0 keeps none.
        save_every, keep: steps between checkpoints, and how many of them stay.
        validate_every, validation_samples: steps between validations, and how many held-out samples.
        sample_every: steps between sheets of sample clips of held-out people; 0 for none.
        vae: a Wan 2.1 VAE (.safetensors) to decode them, or "toy_world"; default: the one that the data was made with.
        distribution: "fsdp" shards the frozen backbone over processes too.
        explosion: stop when the loss is this many times its running mean.
        start_from: an adapter file, or "toy_world", whose weights the run starts with; steps, learning rate and
            optimiser start anew, and so does τ: set `objective.temperature_start` to where that run ended.
    """

    steps: int
    batch: int = 8
    micro_batch: int = 8
    seed: int = 0
    average: float = 0.999
    save_every: int = 500
    keep: int = 3
    validate_every: int = 500
    validation_samples: int = 64
    sample_every: int = 0
    vae: str = ""
    distribution: Distribution = "ddp"
    explosion: float = 20.0
    start_from: str = ""


@dataclass(frozen=True)
class TrainingConfig:
    """`adapter` are settings of the system's adapter; the backbone's width and depth are filled in."""

    data: DataConfig
    model: BackboneConfig
    run: RunConfig
    system: Literal["slot_id"] = "slot_id"
    adapter: dict = field(default_factory=dict)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


def read_config(path: Path, overrides: list[str] = ()) -> TrainingConfig:
    """The settings in a file, with `overrides` such as "run.steps=100" on top."""
    import yaml

    if not path.is_file():
        raise SlotIDError(f"There is no configuration file {path}.")
    try:
        values = yaml.safe_load(path.read_text())
        for override in overrides:
            name, separator, value = override.partition("=")
            if not separator:
                raise SlotIDError(f"--set takes name=value, such as run.steps=100; got {override!r}.")
            *parents, last = name.split(".")
            place = values
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise SlotIDError(f"{path} cannot be read as YAML or JSON: {error}") from error
    if not isinstance(values, dict):
        raise SlotIDError(f"{path} holds no settings.")
    return config_from_dict(TrainingConfig, values)


def config_to_json(config: TrainingConfig) -> str:
    return json.dumps(config_to_dict(config), sort_keys=True)
