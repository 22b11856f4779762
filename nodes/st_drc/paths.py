"""Where ST-DRC's files live: `models/st_drc` and `models/st_drc/people`, and whatever `extra_model_paths.yaml` adds
under the names `st_drc` and `st_drc_people`. Stand-In's file in `models/loras`, where other packs read it, is found as
well.
"""

import os
import re

import folder_paths

from ...slotid_core.errors import SlotIDError
from ...slotid_core.systems.st_drc.inference import INFERENCE
from ...slotid_core.systems.st_drc.random_checkpoints import random_adapter_file
from ...slotid_core.toy_world.family import WEIGHTS
from ...slotid_core.toy_world.random_checkpoints import DEPTH, WIDTH
from ..shared import paths

ADAPTERS = "st_drc"
PEOPLE = "st_drc_people"
LORAS = "loras"
STAND_IN = re.compile(r"stand[-_ ]?in[-_ .]", re.IGNORECASE)
TOY_ADAPTER, RANDOM_TOY_ADAPTER = "toy_world", "toy_world_random"
SHIPPED = WEIGHTS / INFERENCE.shipped_file


def register_folders() -> None:
    root = os.path.join(folder_paths.models_dir, "st_drc")
    paths.register_folder(ADAPTERS, root, paths.EXTENSIONS | {".ckpt"})  # Stand-In's authors have a .ckpt
    paths.register_folder(PEOPLE, os.path.join(root, "people"))


def adapter_names() -> list[str]:
    """Adapter files, and the toy world's: the shipped one, and a random one that is made when it is first asked for."""
    files = paths.names_outside(ADAPTERS, ("people", paths.TOY_FOLDER))
    files += [name for name in paths.file_names(LORAS) if STAND_IN.search(name) and name not in files]
    return [*files, *([TOY_ADAPTER] if SHIPPED.is_file() else []), RANDOM_TOY_ADAPTER]


def adapter_path(name: str) -> str:
    if name == TOY_ADAPTER:
        return str(SHIPPED)
    if name == RANDOM_TOY_ADAPTER:
        folder = os.path.join(folder_paths.get_folder_paths(ADAPTERS)[0], paths.TOY_FOLDER)
        return str(random_adapter_file(folder, WIDTH, DEPTH))
    try:
        return paths.model_path(ADAPTERS, name)
    except SlotIDError:
        if not isinstance(name, str) or not STAND_IN.search(name):
            raise
        return paths.model_path(LORAS, name)
