"""Where the pack's files live: `models/slotid` and `models/slotid/identities`, and whatever
`extra_model_paths.yaml` adds under the names `slotid` and `slotid_identities`."""

import os
import re

import folder_paths

from ...slotid_core.errors import SlotIDError
from ...slotid_core.systems.slot_id.random_checkpoints import random_adapter_file
from ...slotid_core.toy_world.family import has_part, part_path
from ...slotid_core.toy_world.random_checkpoints import DEPTH, WIDTH

ADAPTERS = "slotid"
IDENTITIES = "slotid_identities"
EXTENSIONS = frozenset({".safetensors"})
NAME = re.compile(r"[\w][\w .-]*")
TOY_FOLDER = "toy_world"
TOY_ADAPTER, RANDOM_TOY_ADAPTER = "toy_world", "toy_world_random"


def register_folders() -> None:
    root = os.path.join(folder_paths.models_dir, "slotid")
    for category, folder in ((ADAPTERS, root), (IDENTITIES, os.path.join(root, "identities"))):
        register_folder(category, folder)


def register_folder(category: str, folder: str, extensions: frozenset[str] = EXTENSIONS) -> None:
    folder_paths.add_model_folder_path(category, folder)
    paths, known = folder_paths.folder_names_and_paths[category]
    folder_paths.folder_names_and_paths[category] = (paths, set(known) | extensions)


def adapter_names() -> list[str]:
    """Adapter files, and the toy world's: the shipped one, and a random one that is made when it is first asked for."""
    names = folder_paths.get_filename_list(ADAPTERS)
    files = [name for name in names if re.split(r"[/\\]", name)[0] not in ("identities", TOY_FOLDER)]
    return [*files, *([TOY_ADAPTER] if has_part("adapter") else []), RANDOM_TOY_ADAPTER]


def adapter_path(name: str) -> str:
    if name == TOY_ADAPTER:
        return str(part_path("adapter"))
    if name == RANDOM_TOY_ADAPTER:
        return str(random_adapter_file(toy_world_folder(), WIDTH, DEPTH))
    return model_path(ADAPTERS, name)


def toy_world_folder() -> str:
    return os.path.join(folder_paths.get_folder_paths(ADAPTERS)[0], TOY_FOLDER)


def identity_names() -> list[str]:
    return folder_paths.get_filename_list(IDENTITIES)


def model_path(category: str, name: str) -> str:
    path = folder_paths.get_full_path(category, name)
    if path is None:
        folders = ", ".join(folder_paths.get_folder_paths(category))
        raise SlotIDError(f"There is no file {name!r} in {folders}. Put it there, then refresh the node list.")
    return path


def new_path(category: str, what: str, name: str, replace: bool) -> str:
    """Where a new file of this name goes; an existing one is numbered around unless `replace`.

    Args:
        what: the thing saved, with its article, for the error.
    """
    name = name.strip().removesuffix(".safetensors")
    if not NAME.fullmatch(name):
        raise SlotIDError(
            f"{name!r} cannot be {what}'s name. Use letters, digits, spaces, dots, '-' and '_', and no folders."
        )
    folder = folder_paths.get_folder_paths(category)[0]
    path, number = os.path.join(folder, f"{name}.safetensors"), 2
    while os.path.exists(path) and not replace:
        path, number = os.path.join(folder, f"{name}_{number}.safetensors"), number + 1
    return path


def file_state(path: str) -> str:
    """Changes when the file does; for `fingerprint_inputs`."""
    stat = os.stat(path)
    return f"{path}:{stat.st_mtime_ns}:{stat.st_size}"
