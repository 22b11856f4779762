"""A kind of file that one node saves and another loads."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import folder_paths
from comfy_api.latest import io, ui

from ...slotid_core.files import whole_file
from . import paths


class Savable(Protocol):
    def save(self, path: str) -> None: ...


@dataclass(frozen=True)
class FileKind:
    """One kind of file.

    Attributes:
        category: ComfyUI's name for the folders of these files.
        what: what a file holds, with its article, for errors.
    """

    category: str
    what: str

    def save(self, content: Savable, name: str, replace: bool) -> io.NodeOutput:
        """Write a new file; the output of a save node."""
        path = paths.new_path(self.category, self.what, name, replace)
        content.save(path)
        file_name = os.path.basename(path)
        return io.NodeOutput(file_name, ui=ui.PreviewText(f"Saved as {file_name}"))

    def path(self, name: str) -> str:
        return paths.model_path(self.category, name)

    def state(self, name: str) -> str:
        """Changes when the file does; for `fingerprint_inputs`."""
        return paths.file_state(self.path(name))

    def input(self, name: str, tooltip: str) -> io.Combo.Input:
        """The choice of a file, of a load node."""
        return io.Combo.Input(name, options=folder_paths.get_filename_list(self.category), tooltip=tooltip)


def save_inputs() -> list[io.Input]:
    """Name and replacement, of a save node."""
    return [
        io.String.Input(
            "name",
            default="person",
            tooltip="File name without folder or ending: letters, digits, spaces, dots, '-' and '_'.",
        ),
        io.Boolean.Input(
            "replace",
            default=False,
            tooltip="Off: a file of this name is kept and the new one numbered. On: it is replaced.",
        ),
    ]


def save_outputs() -> list[io.Output]:
    return [io.String.Output(display_name="file_name", tooltip="The name it was saved under.")]


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file so that it appears whole or not at all; one of that name is replaced."""
    with whole_file(target, ending="") as unfinished:
        shutil.copyfile(source, unfinished)
