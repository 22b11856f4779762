"""Checkpoints of a run: everything that a step depends on, in one safetensors file that appears whole or not at all."""

import logging
import re
from pathlib import Path

from torch import Tensor

from ..errors import SlotIDError
from ..weights import load_weights, read_header, save_weights

KIND, VERSION = "training_checkpoint", 1
NAME = re.compile(r"step_(\d{8})\.safetensors")
logger = logging.getLogger(__name__)


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


def latest_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict] | None:
    """Tensors and header of the newest checkpoint that can be read; damaged ones are passed over with a warning."""
    for path in checkpoints(folder):
        try:
            return load_weights(path, KIND, VERSION)
        except SlotIDError as error:
            logger.warning("%s is passed over: %s", path.name, error)
    return None


def newest_step(folder: Path) -> int | None:
    for path in checkpoints(folder):
        try:
            return read_header(path, KIND, VERSION)["step"]
        except SlotIDError:
            continue
    return None
