"""Where Slot-ID's files live: `models/slotid` and `models/slotid/identities`, and whatever `extra_model_paths.yaml`
adds under the names `slotid` and `slotid_identities`."""

import os
from pathlib import Path

import folder_paths

from ...slotid_core.systems.slot_id.random_checkpoints import random_adapter_file
from ...slotid_core.toy_world.family import has_part, part_path
from ...slotid_core.toy_world.random_checkpoints import DEPTH, WIDTH
from ..shared import paths

ADAPTERS = paths.PACK_MODELS
IDENTITIES = "slotid_identities"
EXAMPLES = (
    Path(__file__).parents[2] / "example_people" / "identities"
)  # of the shipped adapter, by tools.make_identities
TOY_ADAPTER, RANDOM_TOY_ADAPTER = "toy_world", "toy_world_random"


def register_folders() -> None:
    paths.register_folder(IDENTITIES, os.path.join(folder_paths.models_dir, "slotid", "identities"))
    if EXAMPLES.is_dir():
        paths.register_folder(IDENTITIES, str(EXAMPLES))


def adapter_names() -> list[str]:
    """Adapter files, and the toy world's: the shipped one, and a random one that is made when it is first asked for."""
    files = paths.names_outside(ADAPTERS, ("identities", paths.TOY_FOLDER))
    return [*files, *([TOY_ADAPTER] if has_part("adapter") else []), RANDOM_TOY_ADAPTER]


def adapter_path(name: str) -> str:
    if name == TOY_ADAPTER:
        return str(part_path("adapter"))
    if name == RANDOM_TOY_ADAPTER:
        return str(random_adapter_file(paths.toy_world_folder(), WIDTH, DEPTH))
    return paths.model_path(ADAPTERS, name)
