"""Checkpoints of a run: everything that a step depends on, in one safetensors file that appears whole or not at all."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..config import known_settings
from ..errors import SlotIDError
from ..ranges import Step, check_ranges
from ..weights import load_weights, naming, read_header, save_weights

KIND, VERSION = "training_checkpoint", 1
NAME = re.compile(r"step_(\d{8})\.safetensors")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointHeader:
    """What every checkpoint says."""

    step: Step

    __post_init__ = check_ranges


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoint files of a run, newest first."""
    return sorted((path for path in folder.glob("step_*.safetensors") if NAME.fullmatch(path.name)), reverse=True)


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], facts: dict, keep_last: int) -> Path:
    """Write a checkpoint and delete all but the newest `keep_last`."""
    path = folder / f"step_{step:08d}.safetensors"
    save_weights(path, tensors, {"kind": KIND, "version": VERSION, "step": step, **facts})
    for old in checkpoints(folder)[max(1, keep_last) :]:
        old.unlink()
    return path


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and header.

    Raises:
        SlotIDError: it is damaged, or does not say its step.
    """
    tensors, header = load_weights(path, KIND, VERSION)
    with naming(path):
        known_settings(CheckpointHeader, header)
    return tensors, header


def latest_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict] | None:
    """Tensors and header of the newest checkpoint that can be read; damaged ones are passed over with a warning."""
    for path in checkpoints(folder):
        try:
            return read_checkpoint(path)
        except SlotIDError as error:
            logger.warning("%s is passed over: %s", path.name, error)
    return None


def newest_step(folder: Path) -> int | None:
    for path in checkpoints(folder):
        try:
            return known_settings(CheckpointHeader, read_header(path, KIND, VERSION)).step
        except SlotIDError:
            continue
    return None
