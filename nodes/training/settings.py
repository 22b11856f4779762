"""What both training nodes have in common: the system, the model files, and the folder of the results."""

import os
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ...slotid_core.files import disk_errors
from ...slotid_core.paths import checked_name, inside
from ...slotid_core.systems.registry import DEFAULT, REFINEMENTS, SYSTEMS
from ..shared import paths

CATEGORY = "Slot-ID/training"
TOY = "toy_world"


def system_input(tooltip: str, first: str = "") -> io.Combo.Input:
    """What is trained; `first` is a choice in front of the systems, and then the default."""
    options = [*([first] if first else []), *SYSTEMS, *REFINEMENTS]
    return io.Combo.Input("system", options=options, default=first or DEFAULT, optional=True, tooltip=tooltip)


def work_folder(kind: str, name: str) -> Path:
    """`output/slotid/<kind>/<name>`, made if it is not there; a link to elsewhere is refused."""
    root = Path(os.path.realpath(folder_paths.get_output_directory())) / "slotid" / kind
    folder = inside(root, checked_name(name, "a folder"), "The folder of this name", "Choose another name.")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def model_file(category: str, name: str) -> str:
    return TOY if name == TOY else paths.model_path(category, name)
