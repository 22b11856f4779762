"""The file that says a preparation is finished, and what is in it."""

import json
from pathlib import Path

from ..errors import SlotIDError

KIND, VERSION = "slotid_dataset", 1
MANIFEST = "manifest.json"


def read_manifest(folder: Path) -> dict:
    """The manifest of a prepared folder.

    Raises:
        SlotIDError: no such folder, a preparation that is not finished, or a folder of something else.
    """
    if not folder.is_dir():
        raise SlotIDError(f"There is no folder {folder}. Give the output folder of a preparation.")
    path = folder / MANIFEST
    if not path.is_file():
        raise SlotIDError(
            f"{folder} has no {MANIFEST}: its preparation is not finished. Run it again to the end: "
            "python -m slotid_core.dataset --config FILE --output FOLDER"
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        kind, version = manifest["kind"], manifest["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SlotIDError(f"{path} cannot be read ({error!r}). Delete it and run the preparation again.") from error
    if kind != KIND or version > VERSION:
        raise SlotIDError(f"{path} is of kind {kind!r}, version {version}; needed is {KIND!r} up to {VERSION}.")
    return manifest
