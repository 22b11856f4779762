"""Folders of models: the pack's own, `models/slotid`, and what all systems do with theirs."""

import os
import re

import folder_paths

from ...slotid_core.errors import SlotIDError

PACK_MODELS = "slotid"
EXTENSIONS = frozenset({".safetensors"})
NAME = re.compile(r"[\w][\w .-]*")
TOY_FOLDER = "toy_world"


def register_folders() -> None:
    register_folder(PACK_MODELS, os.path.join(folder_paths.models_dir, "slotid"))


def register_folder(category: str, folder: str, extensions: frozenset[str] = EXTENSIONS) -> None:
    """Files of `category` lie in `folder`, and where `extra_model_paths.yaml` says."""
    folder_paths.add_model_folder_path(category, folder)
    paths, known = folder_paths.folder_names_and_paths[category]
    folder_paths.folder_names_and_paths[category] = (paths, set(known) | extensions)


def toy_world_folder() -> str:
    """Where files of the toy world go that are made when they are first asked for."""
    return os.path.join(folder_paths.get_folder_paths(PACK_MODELS)[0], TOY_FOLDER)


def names_outside(category: str, folders: tuple[str, ...]) -> list[str]:
    """Files of a category, without those in the folders of these names."""
    names = folder_paths.get_filename_list(category)
    return [name for name in names if re.split(r"[/\\]", name)[0] not in folders]


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
