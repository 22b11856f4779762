"""A kind of file that one node saves and another loads."""

import base64
import dataclasses
import filecmp
import os
import re
import shutil
import threading
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Protocol

import folder_paths
import torch
from comfy_api.latest import io, ui

from ...slotid_core.files import whole_file
from ...slotid_core.provenance import with_provenance
from ...slotid_core.reference.decode.clip import shrink
from . import paths


class Savable(Protocol):
    """A frozen dataclass of somebody, whose `source` holds facts for people to read."""

    @property
    def source(self) -> dict: ...

    def save(self, path: str) -> None: ...


PICTURE = "picture"  # of a `source`: a small JPEG as text, for the page's browser of people
PICTURE_SIDE = 128  # pixels of its shorter side
JPEG = "data:image/jpeg;base64,"  # how its text begins
KINDS: dict[str, "FileKind"] = {}  # all kinds by category
NAMING = threading.Lock()  # held from the search for a free name until the file has it: the page acts beside the queue


@dataclass(frozen=True)
class FileKind:
    """One kind of file.

    Attributes:
        category: ComfyUI's name for the folders of these files.
        what: what a file holds, with its article, for errors.
    """

    category: str
    what: str

    def __post_init__(self):
        KINDS[self.category] = self

    def save(
        self,
        content: Savable,
        name: str,
        replace: bool,
        consent: str = "",
        picture: torch.Tensor | None = None,
        made_of: dict[str, Path] | None = None,
    ) -> io.NodeOutput:
        """Write a new file, which says what it was made of and who agreed; the output of a save node.

        Args:
            picture: (N, H, W, 3) in [0, 1]; a small copy of the first is kept, for people to find the file by.
        """
        source = with_provenance(content.source, made_of or {}, consent)
        if picture is not None:
            source[PICTURE] = small_picture(picture)
        content = dataclasses.replace(content, source=source)  # pyright: ignore[reportArgumentType, reportType]
        with NAMING:
            path = paths.new_path(self.category, self.what, name, replace)
            content.save(path)
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
        choice = io.Combo.Input(name, options=paths.file_names(self.category), tooltip=tooltip)
        choice.extra_dict = {"slotid_people": self.category}  # by which the page knows where to offer its browser
        return choice


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
        io.Image.Input(
            "picture",
            optional=True,
            tooltip="The portrait, or any picture of the person. A small copy is kept in the file and shown where "
            "people are chosen.",
        ),
    ]


def small_picture(images: torch.Tensor) -> str:
    """A JPEG of the first of these pictures, as a data URL."""
    from PIL import Image

    pixels = shrink(
        images[0, ..., :3].float().nan_to_num().clamp(0, 1).mul(255).round().byte().cpu().numpy(), PICTURE_SIDE
    )
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return JPEG + base64.b64encode(file.getvalue()).decode()


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
