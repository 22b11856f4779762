"""What a person sees in the graph: sockets, tooltips, validation, and one call into `slotid_core` each.

A folder holds `NODES` and, where it has model files, `register_folders`. Each system has a folder of its own name.
"""

from importlib import import_module
from importlib.util import find_spec

from ..slotid_core.systems.registry import REFINEMENTS, SYSTEMS
from .shared.choices import with_checked_choices
from .shared.finding import with_finding
from .shared.warnings import with_warnings

# A refinement's nodes lie in the folder of the system that it is part of: ".<system>.<part>" in `<system>`.
SYSTEM_NAMES = dict.fromkeys([*SYSTEMS, *(package.split(".")[1] for package in REFINEMENTS.values())])
SYSTEM_FOLDERS = [name for name in SYSTEM_NAMES if find_spec(f".{name}", __package__)]
NAMES = ("shared", "reference", *SYSTEM_FOLDERS, "people", "sampling", "training", "scoring", "library")
FOLDERS = [import_module(f".{name}", __package__) for name in NAMES]

for folder in FOLDERS:
    if hasattr(folder, "register_folders"):
        folder.register_folders()

NODES = [with_finding(with_checked_choices(with_warnings(node))) for folder in FOLDERS for node in folder.NODES]
