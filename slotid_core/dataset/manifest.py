"""The file that says a preparation is finished, and what is in it."""

import re
from pathlib import Path

from ..errors import SlotIDError
from ..files import read_json

KIND, VERSION = "slotid_dataset", 1
MANIFEST = "manifest.json"
AGAIN = "Delete it and run the preparation again."
# What is read of a manifest, of its settings, and of each shard in it.
NEEDED = {"kind": str, "version": int, "config": dict, "shards": list, "sha256": str}
NEEDED_SETTINGS = {"vae": str, "reference_size": int, "reference_frames": int, "portrait_size": int}
NEEDED_OF_SHARD = {"name": str, "bytes": int, "failed": int}
SHARD_NAME = re.compile(r"shard-\d{6,}")


def read_manifest(folder: Path) -> dict:
    """The manifest of a prepared folder.

    Raises:
        SlotIDError: no such folder, a preparation that is not finished, a folder of something else, or a manifest that
            is damaged.
    """
    if not folder.is_dir():
        raise SlotIDError(f"There is no folder {folder}. Give the output folder of a preparation.")
    path = folder / MANIFEST
    if not path.is_file():
        raise SlotIDError(
            f"{folder} has no {MANIFEST}: its preparation is not finished. Run it again to the end: "
            "python -m slotid_core.dataset --config FILE --output FOLDER"
        )
    manifest = read_json(path, AGAIN)
    kind, version = manifest.get("kind"), manifest.get("version")
    if not isinstance(kind, str) or not isinstance(version, int):
        raise SlotIDError(f"{path} cannot be read: it does not say its kind and version. {AGAIN}")
    if kind != KIND or version > VERSION:
        raise SlotIDError(f"{path} is of kind {kind!r}, version {version}; needed is {KIND!r} up to {VERSION}.")
    check_object(manifest, NEEDED, str(path))
    check_object(manifest["config"], NEEDED_SETTINGS, f"config of {path}")
    for number, shard in enumerate(manifest["shards"]):
        check_object(shard, NEEDED_OF_SHARD, f"shard {number} of {path}")
        if not SHARD_NAME.fullmatch(shard["name"]):
            raise SlotIDError(f"{path} names a shard {shard['name']!r}, which is none of a preparation. {AGAIN}")
    return manifest


def check_object(value: object, needed: dict[str, type], where: str) -> None:
    """Whether a value read from JSON is an object that has `needed`, no number of them negative.

    Raises:
        SlotIDError: it is not; the message says where and what.
    """
    if not isinstance(value, dict):
        raise SlotIDError(f"{where} is {value!r:.60} where an object is needed. {AGAIN}")
    for name, kind in needed.items():
        found = value.get(name)
        if not isinstance(found, kind) or isinstance(found, bool) or (isinstance(found, int) and found < 0):
            raise SlotIDError(f"{where} has {name} = {found!r:.60}, where {kind.__name__} is needed. {AGAIN}")
