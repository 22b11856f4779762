"""Files that appear whole or not at all, and what is said and left when writing one fails.

A file is written into a temporary folder beside its place and then moved there. The folder's name says which process
writes, so that what a killed one leaves is found and removed (`sweep`).
"""

import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import SlotIDError
from .this_process import place, start_of

UNFINISHED = ".part"
OURS = re.compile(r"\.slotid-(?P<place>[0-9a-f]{8})-(?P<pid>\d+)-\d+\.part")
# Earlier releases: `.ann.safetensors.k3b_x91a.tmp` beside a weight file, and in folders of runs also these.
EARLIER = re.compile(r"\..+\.safetensors\.\w{8}\.tmp")
EARLIER_IN_RUNS = re.compile(
    r"\..+\.(part|tmp)|\.tmp\w{6}|\d+(\.\w+)?\.(png|mp4)\.part|(portraits|unseen|drawn_heads_\d+)\.part"
    r"|(log|loss|samples_\d{8})\.tmp(\.png)?"
)
ABANDONED_AFTER = 24 * 3600  # seconds without a change, where it cannot be known whether the writer lives
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} if hasattr(errno, "EDQUOT") else {errno.ENOSPC, errno.EFBIG}
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}

_numbers = itertools.count()
_swept: set[tuple[int, Path]] = set()  # folders in which this process has removed what killed ones left


@contextmanager
def whole_file(path: str | os.PathLike, ending: str | None = None) -> Iterator[Path]:
    """A path to write to; on leaving without an error the file written there is moved to `path`, replacing another.

    Args:
        ending: of the temporary path; by default that of `path`, by which libraries choose a format. "" keeps it out
            of lists of files with that ending.

    Raises:
        SlotIDError: the folder cannot be written to, or the disk is full; nothing is left there.
    """
    path = Path(path)
    with disk_errors(path), unfinished_folder(path.parent) as folder:
        unfinished = folder / f"file{path.suffix if ending is None else ending}"
        yield unfinished
        # As any new file would have it; some libraries write files that their owner alone can read.
        os.chmod(unfinished, folder.stat().st_mode & 0o666)
        os.replace(unfinished, path)


@contextmanager
def unfinished_folder(beside: str | os.PathLike) -> Iterator[Path]:
    """A temporary folder in `beside`, which is made if need be: what is finished in it is to be moved out."""
    beside = Path(beside)
    beside.mkdir(parents=True, exist_ok=True)
    if (os.getpid(), beside) not in _swept:
        _swept.add((os.getpid(), beside))
        sweep(beside)
    folder = beside / f".slotid-{_place_code()}-{os.getpid()}-{next(_numbers)}{UNFINISHED}"
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_json(path: str | os.PathLike, values: dict, sort_keys: bool = False) -> None:
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(values, indent=2, sort_keys=sort_keys) + "\n", encoding="utf-8")


def write_text(path: str | os.PathLike, text: str) -> None:
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def read_json(path: str | os.PathLike, remedy: str) -> dict:
    """The JSON object in a file.

    Args:
        remedy: a sentence that says what to do if it cannot be read.

    Raises:
        SlotIDError: it is missing, damaged, or holds something other than an object.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SlotIDError(f"{path} cannot be read ({_first_line(error)}). {remedy}") from error
    if not isinstance(values, dict):
        raise SlotIDError(f"{path} holds {type(values).__name__} where a JSON object is needed. {remedy}")
    return values


def sweep(folder: str | os.PathLike, of_runs: bool = False) -> None:
    """Remove what killed writers have left in a folder.

    Args:
        of_runs: nobody else writes there (see `folder_lock`): all leftovers go, also in the folders below. Without
            it, those go whose writer has ended, and those of other hosts that nobody has touched for a day.
    """
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        with suppress(OSError):
            if _is_left_over(entry, of_runs):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink()
            elif of_runs and entry.is_dir(follow_symlinks=False):
                sweep(entry.path, of_runs)


def _is_left_over(entry: os.DirEntry, of_runs: bool) -> bool:
    ours = OURS.fullmatch(entry.name)
    if of_runs:
        return bool(ours or EARLIER_IN_RUNS.fullmatch(entry.name))
    if ours and ours["place"] == _place_code() and start_of(int(ours["pid"])) is None:
        return True
    return bool(ours or EARLIER.fullmatch(entry.name)) and _untouched(entry) > ABANDONED_AFTER


def _untouched(entry: os.DirEntry) -> float:
    """Seconds since a file, or what lies in a folder, was written."""
    inside = list(os.scandir(entry.path)) if entry.is_dir(follow_symlinks=False) else []
    return time.time() - max(found.stat(follow_symlinks=False).st_mtime for found in [entry, *inside])


def _place_code() -> str:
    return hashlib.sha256(place().encode()).hexdigest()[:8]


@contextmanager
def disk_errors(path: str | os.PathLike, only_full: bool = False) -> Iterator[None]:
    """Say in words that `path` cannot be written.

    Args:
        only_full: other errors than those of full and read-only disks are left as they are.
    """
    try:
        yield
    except Exception as error:
        number = _system_error(error)
        if number is None or (only_full and number not in FULL | {errno.EROFS}):
            raise
        raise SlotIDError(_cannot_write(path, number, error)) from error


def _system_error(error: Exception) -> int | None:
    """The system's number of an error; safetensors puts it into its text."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(found[1]) if found else None


def _cannot_write(path: str | os.PathLike, number: int, error: Exception) -> str:
    if number in FULL:
        return f"{path} cannot be written: the disk, or what you may use of it, is full. Make room, then start again."
    if number in READ_ONLY:
        return (
            f"{path} cannot be written ({os.strerror(number)}): the folder is read-only, or another program holds the "
            "file. Choose another folder, or change who may write there."
        )
    return f"{path} cannot be written ({_first_line(error)}). Choose another name or folder."


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
