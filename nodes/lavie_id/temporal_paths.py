"""Where temporal modules live: `models/lavie_id/temporal`, and whatever `extra_model_paths.yaml` adds under the name
`lavie_id_temporal`.
"""

import os

import folder_paths

from ...slotid_core.systems.lavie_id.temporal.file import random_temporal_file
from ...slotid_core.toy_world.family import WEIGHTS
from ..shared import paths

MODULES = "lavie_id_temporal"
TOY_MODULE, RANDOM_TOY_MODULE = "toy_world", "toy_world_random"
SHIPPED = WEIGHTS / "lavie_id_temporal.safetensors"


def register_folders() -> None:
    paths.register_folder(MODULES, os.path.join(folder_paths.models_dir, "lavie_id", "temporal"))


def module_names() -> list[str]:
    """Files, and the toy world's: the shipped one, and a random one that is made when it is first asked for."""
    files = paths.names_outside(MODULES, (paths.TOY_FOLDER,))
    return [*files, *([TOY_MODULE] if SHIPPED.is_file() else []), RANDOM_TOY_MODULE]


def module_path(name: str) -> str:
    if name == TOY_MODULE:
        return str(SHIPPED)
    if name == RANDOM_TOY_MODULE:
        return str(random_temporal_file(os.path.join(folder_paths.get_folder_paths(MODULES)[0], paths.TOY_FOLDER)))
    return paths.model_path(MODULES, name)
