"""Where ST-DRC's files live: `models/st_drc` and `models/st_drc/people`, and whatever `extra_model_paths.yaml` adds
under the names `st_drc` and `st_drc_people`."""

import os

import folder_paths

from ...slotid_core.systems.st_drc.inference import INFERENCE
from ...slotid_core.systems.st_drc.random_checkpoints import random_adapter_file
from ...slotid_core.toy_world.family import WEIGHTS
from ...slotid_core.toy_world.random_checkpoints import DEPTH, WIDTH
from ..shared import paths

ADAPTERS = "st_drc"
PEOPLE = "st_drc_people"
TOY_ADAPTER, RANDOM_TOY_ADAPTER = "toy_world", "toy_world_random"
SHIPPED = WEIGHTS / INFERENCE.shipped_file


def register_folders() -> None:
    root = os.path.join(folder_paths.models_dir, "st_drc")
    paths.register_folder(ADAPTERS, root)
    paths.register_folder(PEOPLE, os.path.join(root, "people"))


def adapter_names() -> list[str]:
    """Adapter files, and the toy world's: the shipped one, and a random one that is made when it is first asked for."""
    files = paths.names_outside(ADAPTERS, ("people", paths.TOY_FOLDER))
    return [*files, *([TOY_ADAPTER] if SHIPPED.is_file() else []), RANDOM_TOY_ADAPTER]


def adapter_path(name: str) -> str:
    if name == TOY_ADAPTER:
        return str(SHIPPED)
    if name == RANDOM_TOY_ADAPTER:
        folder = os.path.join(folder_paths.get_folder_paths(ADAPTERS)[0], paths.TOY_FOLDER)
        return str(random_adapter_file(folder, WIDTH, DEPTH))
    return paths.model_path(ADAPTERS, name)
