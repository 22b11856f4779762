"""One run at a time in a folder: a file in it says who is at work there.

It is made by creating a file that must not exist, which works on every file system and never waits. Locks of the
operating system would need no sign of life, but network file systems lack them, keep them to one host, or hang.

Whether the holder lives is asked of the system on the holder's own host. From elsewhere it shows by the file's time,
which the holder renews.
"""

import json
import logging
import os
import shlex
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from .config import config_from_dict
from .errors import SlotIDError
from .files import UNFINISHED, disk_errors, read_json, sweep, write_json
from .this_process import is_running, place, start_of

LOCK = ".slotid_lock"
RENEWED_EVERY = 20  # seconds
SILENT_AFTER = 180  # seconds without a sign of life after which a holder on another host counts as dead
WAIT = 5  # seconds for a lock that somebody is making or taking over at this moment
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """Who is at work: process, when it started (`this_process.start_of`), where, since when, and its command."""

    pid: int
    start: str
    host: str
    place: str
    since: str
    command: str

    @classmethod
    def here(cls) -> "Holder":
        pid = os.getpid()
        since = datetime.now().astimezone().isoformat(" ", "seconds")
        command = shlex.join(sys.argv)
        return cls(pid, start_of(pid) or "unknown", socket.gethostname(), place(), since, command[:300])


@contextmanager
def only_run_in(folder: str | os.PathLike, part: str = "") -> Iterator[None]:
    """Within this context nobody else runs in `folder`, which is made if need be, and rid of what killed runs left.

    Args:
        part: a name, where several things are made in one folder and each may have a run of its own.

    Raises:
        SlotIDError: another run is at work there, and who it is; or the folder cannot be written to.
    """
    folder = Path(folder)
    path = folder / (f"{LOCK}_{part}" if part else LOCK)
    mine = Holder.here()
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _take(path, mine)
    done = threading.Event()
    threading.Thread(target=_renew, args=(path, mine, done), daemon=True).start()
    try:
        sweep(folder, of_runs=not part)
        yield
    finally:
        done.set()
        if os.getpid() == mine.pid and _read(path) == mine:
            with suppress(OSError):
                path.unlink()


def _take(path: Path, mine: Holder) -> None:
    until = time.monotonic() + WAIT
    while not _create(path, mine):
        holder = _read(path)
        if holder is not None and _lives(path, holder):
            raise SlotIDError(_refusal(path, holder))
        if holder is None and _silence(path) < SILENT_AFTER:  # gone since, or its maker has not written into it yet
            if time.monotonic() > until:
                raise SlotIDError(f"{path} cannot be read. If nothing else runs in that folder, delete it.")
            time.sleep(0.1)
        elif _take_over(path, holder, mine):
            return
        elif time.monotonic() > until:
            raise SlotIDError(f"{path.parent} is being taken over by another run. Start again when that one has ended.")


def _create(path: Path, mine: Holder) -> bool:
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    try:
        with os.fdopen(file, "w", encoding="utf-8") as text:
            text.write(json.dumps(asdict(mine), indent=2) + "\n")
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _take_over(path: Path, dead: Holder | None, mine: Holder) -> bool:
    """Put our name into a dead run's lock, unless somebody else is doing so; a folder, made by one alone, says who."""
    taking = path.with_name(f"{path.name}.taking")
    try:
        taking.mkdir()
    except FileExistsError:
        with suppress(OSError):
            if time.time() - taking.stat().st_mtime > SILENT_AFTER:
                taking.rmdir()
        time.sleep(0.1)
        return False
    try:
        if _read(path) != dead or not path.exists():
            return False
        write_json(path, asdict(mine))
    finally:
        with suppress(OSError):
            taking.rmdir()
    if dead is not None:
        logger.warning("%s was held by process %d on %s, which has ended; it is taken over.", path, dead.pid, dead.host)
    return True


def _read(path: Path) -> Holder | None:
    """Who holds a lock; None where there is none, or nobody is named in it."""
    try:
        return config_from_dict(Holder, read_json(path, ""))
    except SlotIDError:
        return None


def _lives(path: Path, holder: Holder) -> bool:
    if holder.place == place():
        return is_running(holder.pid, holder.start)
    return _silence(path) < SILENT_AFTER


def _silence(path: Path) -> float:
    """Seconds since the lock was renewed, by the clock of the disk, which may be another machine's."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{LOCK}_time.", suffix=UNFINISHED) as now:
            return Path(now.name).stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _refusal(path: Path, holder: Holder) -> str:
    text = (
        f"Another run is at work in {path.parent}: process {holder.pid} on {holder.host}, since {holder.since} "
        f"({holder.command}). Wait for its end, stop it, or choose another folder."
    )
    if holder.place == place():
        return text
    return (
        f"{text} It last gave a sign of life {_silence(path):.0f} s ago; after {SILENT_AFTER} s it counts as dead, and "
        "the folder is free."
    )


def _renew(path: Path, mine: Holder, done: threading.Event) -> None:
    while not done.wait(RENEWED_EVERY):
        if _read(path) == mine:
            with suppress(OSError):
                os.utime(path)
        elif path.exists():
            logger.error("%s has been taken by another run, while this one still writes there. Stop one.", path)
            return
