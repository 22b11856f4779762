"""Clips of drawn people that come with the pack, in ComfyUI's input folder, where its page can play them.

The folder is put there once, whole. Where it is, it is left alone: a clip deleted from it stays deleted.
"""

import logging
import os
import shutil
from pathlib import Path

import folder_paths

from ...slotid_core.files import unfinished_folder

FOLDER = "slotid_examples"
# ComfyUI takes a folder named "examples" for templates, and then serves none from "workflows".
SHIPPED = Path(__file__).parents[2] / "example_people"
DEFAULT = f"{FOLDER}/person_1000015.mp4"
# Releases before there were files drew the same clip under this name; workflows saved then still ask for it.
EARLIER_NAME = "toy_world_person.mp4 [example]"
_tried: set[str] = set()  # input folders: one that is deleted while ComfyUI runs does not come back before a restart


def put_examples() -> list[str]:
    """Copy the clips into the input folder unless they are there; names to offer that lie in no such folder.

    Where the input folder cannot be written to, these are the clips that came with the pack. They run all the same,
    and only the page cannot play them.
    """
    root = folder_paths.get_input_directory()
    if root in _tried:
        return []
    folder = os.path.join(root, FOLDER)
    if not os.path.isdir(folder):
        try:
            _copy_whole(root, folder)
        except OSError as error:
            logging.warning(
                "Slot-ID: %s cannot be written to (%s), so the page cannot play the example clips. They run all the "
                "same.", root, error,
            )  # fmt: skip
            return [f"{FOLDER}/{name}" for name in shipped_names()]
    _tried.add(root)
    return []


def shipped_path(name: str) -> str | None:
    """The pack's own file for an example's name, or None for any other name."""
    if name == EARLIER_NAME:
        name = DEFAULT
    folder, _, file = name.partition("/")
    return str(SHIPPED / file) if folder == FOLDER and file in shipped_names() else None


def shipped_names() -> list[str]:
    return sorted(file.name for file in SHIPPED.glob("*.mp4"))


def _copy_whole(root: str, folder: str) -> None:
    """The folder appears with all its clips; of two servers that try at once, one puts it there."""
    try:
        with unfinished_folder(root) as unfinished:
            clips = unfinished / FOLDER
            clips.mkdir()
            for name in shipped_names():
                shutil.copyfile(SHIPPED / name, clips / name)
            os.rename(clips, folder)
    except OSError:
        if not os.path.isdir(folder):
            raise
