"""The door for paths: what somebody wrote becomes a place below an allowed folder, or an error.

Names in prompts, lists and data folders come from people who should not reach the rest of the machine, and links lead
anywhere. So a path is followed to its end, links included, and only then compared with the folder.
"""

import os
import re
from pathlib import Path

from .errors import SlotIDError

NAME = re.compile(r"\w[\w .-]*")
MOST_BYTES = 160  # of a name: systems take 255 for a file, of which endings, numbers and temporary names need some
# Devices on Windows, whatever ending follows.
RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{device}{number}" for device in ("com", "lpt") for number in "0123456789¹²³"
}


def inside(root: str | os.PathLike, name: str | os.PathLike, what: str, remedy: str) -> Path:
    """`root` joined with `name`, which may be absolute; links are followed to judge it, not in the result.

    Args:
        what: whose path it is, such as "line 3 of list.jsonl".
        remedy: a sentence that says where the file should be.

    Raises:
        SlotIDError: it ends outside `root`, or cannot be a path.
    """
    path = Path(root, name)
    try:
        base, end = os.path.realpath(root), os.path.realpath(path)
        below = "\0" not in str(path) and os.path.commonpath([base, end]) == base
    except (ValueError, OSError):  # a zero byte, another drive, characters that no file system takes
        below = False
    if not below:
        raise SlotIDError(f"{what}: {os.fspath(name)!r} lies outside {root}. {remedy}")
    return path


def checked_name(name: str, what: str) -> str:
    """A name that somebody gave for a new file or folder, without spaces around it.

    Args:
        what: what gets the name, with its article, such as "an identity".

    Raises:
        SlotIDError: some system could not take it, or it would lead to another folder.
    """
    tidy = name.strip()
    if not NAME.fullmatch(tidy) or tidy.endswith("."):
        raise SlotIDError(
            f"{name!r} cannot be {what}'s name. Use letters, digits, spaces, dots, '-' and '_', begin with a letter or "
            "digit, end with no dot, and name no folders."
        )
    length = len(tidy.encode(errors="replace"))
    if length > MOST_BYTES:
        raise SlotIDError(
            f"{tidy[:40]!r}... cannot be {what}'s name: it is {length} bytes long, {MOST_BYTES} at most. Shorten it."
        )
    if tidy.split(".")[0].strip().lower() in RESERVED:
        raise SlotIDError(
            f"{name!r} cannot be {what}'s name: on Windows {tidy.split('.')[0]!r} is a device. Choose another name."
        )
    return tidy


def free_path(folder: str | os.PathLike, name: str, ending: str) -> Path:
    """`name` with `ending` in `folder`, with the next free number where files of that name are there."""
    path, number = Path(folder, f"{name}{ending}"), 2
    while os.path.lexists(path):
        path, number = Path(folder, f"{name}_{number}{ending}"), number + 1
    return path
