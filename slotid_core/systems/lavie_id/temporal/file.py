"""A temporal module's file: safetensors with a JSON header, and a small random one for the toy world."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ....config import config_to_dict, known_settings
from ....tensor_shapes import fill, floats
from ....weights import load_weights, naming, save_weights
from .config import TemporalConfig
from .module import TemporalModule

KIND, VERSION = "lavie_id_temporal", 1
RANDOM_VERSION, SEED = 1, 0


@dataclass(frozen=True)
class TemporalHeader:
    """What a module's file says beside its tensors."""

    config: TemporalConfig


def save_temporal(
    path: str | os.PathLike, config: TemporalConfig, tensors: dict[str, Tensor], training: dict | None = None
) -> None:
    """Write a module. `training` are facts about how it was made; JSON-ready."""
    header = {"kind": KIND, "version": VERSION, "config": config_to_dict(config), "training": training or {}}
    save_weights(path, tensors, header)


def load_temporal(path: str | os.PathLike) -> TemporalModule:
    """A module on the CPU, frozen, in float32.

    Raises:
        SlotIDError: not such a file, damaged, newer, with unknown settings or with tensors that do not fit.
    """
    tensors, header = load_weights(path, KIND, VERSION)
    with naming(path):
        config = known_settings(TemporalHeader, header).config
        with torch.device("meta"):
            module = TemporalModule(config)
        fill(module, floats(tensors), "a temporal module of the sizes that its header says")
    return module.eval().requires_grad_(False)


def random_temporal(config: TemporalConfig | None = None) -> TemporalModule:
    """A small module in which nothing is zero: it proves the plumbing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        module = TemporalModule(config or TemporalConfig(width=32, heads=2, layers=2))
        torch.nn.init.normal_(module.project_out.weight, std=0.5)
    return module.eval().requires_grad_(False)


def random_temporal_file(folder: str | os.PathLike) -> Path:
    """The random module's file in `folder`; made if it is not there, the same for everybody."""
    path = Path(folder) / f"random_v{RANDOM_VERSION}_lavie_id_temporal.safetensors"
    if not path.exists():
        module = random_temporal()
        save_temporal(path, module.config, module.state_dict(), {"note": "random weights"})
    return path
