"""The only list of systems: a name, and the package that holds the system. Nothing is imported before it is used."""

from importlib import import_module
from types import ModuleType
from typing import Any

from ..errors import SlotIDError
from .contract import Inference, Strategy

# A name that begins with a dot is a package beside this file; any other is an importable package.
SYSTEMS = {
    "slot_id": ".slot_id",
    "lynx": ".lynx",
    "st_drc": ".st_drc",
    "lavie_id": ".lavie_id",
}
DEFAULT = "slot_id"


def strategy_of(name: str) -> type[Strategy]:
    """The class that trains a system."""
    return _module(name, "strategy").Strategy


def objective_settings_of(name: str) -> type[Any]:
    """The frozen dataclass of a system's own part of the objective."""
    return _module(name, "strategy").ObjectiveSettings


def inference_of(name: str) -> Inference:
    return _module(name, "inference").INFERENCE


def _module(name: str, part: str) -> ModuleType:
    if name not in SYSTEMS:
        raise SlotIDError(f"There is no system {name!r}; there are {', '.join(SYSTEMS)}. Correct the name.")
    return import_module(f"{SYSTEMS[name]}.{part}", __package__)
