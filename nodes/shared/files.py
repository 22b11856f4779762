"""A kind of file that one node saves and another loads."""

import dataclasses
import filecmp
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import folder_paths
from comfy_api.latest import io, ui

from ...slotid_core.files import whole_file
from ...slotid_core.provenance import with_provenance
from . import paths


class Savable(Protocol):
    """A frozen dataclass of somebody, whose `source` holds facts for people to read."""

    @property
    def source(self) -> dict: ...

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

    def save(
        self, content: Savable, name: str, replace: bool, consent: str = "", made_of: dict[str, Path] | None = None
    ) -> io.NodeOutput:
        """Write a new file, which says what it was made of and who agreed; the output of a save node."""
        path = paths.new_path(self.category, self.what, name, replace)
        source = with_provenance(content.source, made_of or {}, consent)
        dataclasses.replace(content, source=source).save(path)  # pyright: ignore[reportArgumentType, reportType]
        file_name = os.path.basename(path)
        return io.NodeOutput(file_name, ui=ui.PreviewText(f"Saved as {file_name}"))

    def name_is_valid(self, name: str | None) -> bool | str:
        """For `validate_inputs` of a save node."""
        return paths.name_is_valid(self.what, name)

    def path(self, name: str) -> str:
        return paths.model_path(self.category, name)

    def state(self, name: str) -> str:
        """Changes when the file does; for `fingerprint_inputs`."""
        return paths.file_state(self.path(name))

    def input(self, name: str, tooltip: str) -> io.Combo.Input:
        """The choice of a file, of a load node."""
        return io.Combo.Input(name, options=paths.file_names(self.category), tooltip=tooltip)


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
        consent_input(),
    ]


def consent_input() -> io.String.Input:
    return io.String.Input(
        "consent",
        default="",
        multiline=True,
        optional=True,
        tooltip="Who agreed to what, and when, in a sentence. It is kept with the date and the hashes of the clip and "
        "pictures, and goes into videos by Note Person in Video. Fill it in for every real person.",
    )


def save_outputs() -> list[io.Output]:
    return [io.String.Output(display_name="file_name", tooltip="The name it was saved under.")]


def keep_as_new(source: Path, category: str, what: str, name: str) -> Path:
    """Copy a file among those of a category; one of that name is kept, and the new one numbered.

    Where a file of that name, numbered or not, has the very same content, it is that one.
    """
    name, folder = paths.new_name(what, name), Path(folder_paths.get_folder_paths(category)[0])
    number = re.compile(re.escape(name) + r"(_\d+)?" + re.escape(paths.WEIGHTS))
    for there in sorted(folder.iterdir()) if folder.is_dir() else ():
        if number.fullmatch(there.name) and there.is_file() and filecmp.cmp(source, there, shallow=False):
            return there
    target = Path(paths.new_path(category, what, name))
    copy_whole(source, target)
    return target


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file so that it appears whole or not at all; one of that name is replaced."""
    with whole_file(target, ending="") as unfinished:
        shutil.copyfile(source, unfinished)
