"""The only list of systems: a name, and the package that holds the system. Nothing is imported before it is used."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import SlotIDError
from .contract import Inference, Refinement, Strategy

# A name that begins with a dot is a package beside this file; any other is an importable package.
SYSTEMS = {
    "slot_id": ".slot_id",
    "lynx": ".lynx",
    "st_drc": ".st_drc",
    "lavie_id": ".lavie_id",
}
DEFAULT = "slot_id"
# What refines sampled latents, whichever system sampled them, and is trained by itself. Such a package has a `strategy`
# as a system's is, and an `inference` whose `INFERENCE` is a `contract.Refinement`; it makes no person.
REFINEMENTS = {"lavie_id_temporal": ".lavie_id.temporal"}


def strategy_of(name: str) -> type[Strategy]:
    """The class that trains a system or a refinement."""
    return _module(name, "strategy").Strategy


def objective_settings_of(name: str) -> type[Any]:
    """The frozen dataclass of its own part of the objective."""
    return _module(name, "strategy").ObjectiveSettings


def inference_of(name: str) -> Inference:
    return _module(name, "inference").INFERENCE


def shipped_part_of(name: str) -> str:
    """Part of the toy world that is the trained file of a system or a refinement."""
    return Path(_module(name, "inference").INFERENCE.shipped_file).stem


def refinement_of(name: str) -> Refinement:
    return _module(name, "inference").INFERENCE


def _module(name: str, part: str) -> ModuleType:
    packages = SYSTEMS | REFINEMENTS
    if name not in packages:
        raise SlotIDError(f"There is no system {name!r}; there are {', '.join(packages)}. Correct the name.")
    return import_module(f"{packages[name]}.{part}", __package__)
