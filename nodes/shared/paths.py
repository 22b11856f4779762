"""Folders of models: the pack's own, `models/slotid`, and what all systems do with theirs."""

import hashlib
import os
import re

import folder_paths

from ...slotid_core.errors import SlotIDError
from ...slotid_core.paths import checked_name, free_path, inside

PACK_MODELS = "slotid"
WEIGHTS = ".safetensors"
EXTENSIONS = frozenset({WEIGHTS})
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


def file_names(category: str) -> list[str]:
    """Files of a category, as ComfyUI lists them, also after a folder of it was deleted."""
    try:
        return folder_paths.get_filename_list(category)
    except OSError:  # ComfyUI asks folders that it has listed before for their time
        folder_paths.filename_list_cache.pop(folder_paths.map_legacy(category), None)
        return folder_paths.get_filename_list(category)


def names_outside(category: str, folders: tuple[str, ...]) -> list[str]:
    """Files of a category, without those in the folders of these names."""
    return [name for name in file_names(category) if re.split(r"[/\\]", name)[0] not in folders]


def model_path(category: str, name: str) -> str:
    """The file of that name in a folder of a category, of a kind that is listed there.

    Links are followed wherever they lead: who owns the model folders makes them, and ComfyUI follows them as well.
    """
    folders, endings = folder_paths.folder_names_and_paths[folder_paths.map_legacy(category)]
    try:
        path = folder_paths.get_full_path(category, name)
    except (ValueError, TypeError):  # a zero byte, another drive, no text
        path = None
    if path is None or (endings and not path.lower().endswith(tuple(endings))):
        raise SlotIDError(
            f"There is no file {name!r} in {', '.join(folders)}. Put it there, then refresh the node list."
        )
    return path


def input_path(name: str, what: str) -> str:
    """A file or folder in ComfyUI's input folder, links followed.

    Raises:
        SlotIDError: it lies elsewhere. It may not exist.
    """
    try:
        return os.path.realpath(inside(os.path.realpath(folder_paths.get_input_directory()), name, what, ""))
    except SlotIDError:
        raise SlotIDError(
            f"{what}: {name!r} lies outside ComfyUI's input folder. Upload it, or copy it into that folder."
        ) from None


def work_path(folder: str, what: str) -> str:
    """A folder of results or data, which lies in ComfyUI's output or input folder, links followed.

    Raises:
        SlotIDError: it lies elsewhere. It may not exist.
    """
    roots = [folder_paths.get_output_directory(), folder_paths.get_input_directory()]
    for root in map(os.path.realpath, roots):
        try:
            return os.path.realpath(inside(root, folder, what, ""))
        except SlotIDError:
            continue
    raise SlotIDError(
        f"{what}: {folder!r} lies in neither of {', '.join(roots)}. Move the folder there; the command line, "
        "python -m slotid_core.training, takes one from anywhere."
    )


def new_path(category: str, what: str, name: str, replace: bool = False) -> str:
    """Where a new file of this name goes; an existing one is numbered around unless `replace`.

    Args:
        what: the thing saved, with its article, for the error.
    """
    name = new_name(what, name)
    folder = folder_paths.get_folder_paths(category)[0]
    os.makedirs(folder, exist_ok=True)  # it may have been deleted since ComfyUI started
    return os.path.join(folder, name + WEIGHTS) if replace else str(free_path(folder, name, WEIGHTS))


def new_name(what: str, name: str) -> str:
    """The name of a new weight file, without its ending.

    Raises:
        SlotIDError: some system could not take it, or it would lead to another folder.
    """
    return checked_name(name.strip().removesuffix(WEIGHTS), what)


def name_is_valid(what: str, name: object) -> bool | str:
    """For `validate_inputs`: whether a file or folder can have this name, before anything runs.

    Args:
        name: None where it comes from another node, whereupon it is judged when that has run. ComfyUI hands over
            whatever JSON the prompt holds.
    """
    if name is not None and not isinstance(name, str):
        return f"{name!r} cannot be {what}'s name: it is no text."
    try:
        if name is not None:
            new_name(what, name)
    except SlotIDError as error:
        return str(error)
    return True


def file_state(path: str) -> str:
    """Changes when the file does; for `fingerprint_inputs`.

    ComfyUI writes it into every picture and video that it saves, so it names no folder of the machine.
    """
    try:
        stat = os.stat(path)
        state = f"{path}:{stat.st_mtime_ns}:{stat.st_size}"
    except OSError as error:  # a link that leads nowhere
        state = f"{path}:{error.errno}"
    return hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()
