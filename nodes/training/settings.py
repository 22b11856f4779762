"""What both training nodes have in common: the system, the model files, and the folder of the results."""

import re
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ...slotid_core.files import disk_errors
from ...slotid_core.systems.registry import DEFAULT, SYSTEMS
from ..shared import paths

CATEGORY = "Slot-ID/training"
TOY = "toy_world"
NAME = re.compile(r"[\w][\w .-]*")


def system_input(tooltip: str, first: str = "") -> io.Combo.Input:
    """The method; `first` is a choice in front of the systems, and then the default."""
    options = [first, *SYSTEMS] if first else list(SYSTEMS)
    return io.Combo.Input("system", options=options, default=first or DEFAULT, optional=True, tooltip=tooltip)


def work_folder(kind: str, name: str) -> Path:
    """`output/slotid/<kind>/<name>`, made if it is not there."""
    if not NAME.fullmatch(name.strip()):
        raise SlotIDError(f"{name!r} cannot be a folder's name. Use letters, digits, spaces, dots, '-' and '_'.")
    folder = Path(folder_paths.get_output_directory()) / "slotid" / kind / name.strip()
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def model_file(category: str, name: str) -> str:
    return TOY if name == TOY else paths.model_path(category, name)
