"""Who this process is, and whether another one still runs: for locks, and for what killed writers leave behind.

Also what its standard output can take.
"""

import io
import os
import socket
import sys
from pathlib import Path


def place() -> str:
    """Where process numbers mean the same: this host, and inside a Linux container that container alone."""
    try:
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def start_of(pid: int) -> str | None:
    """When a process of this place started, in a form that does not change with the clock; None if it has ended.

    "unknown" for one that runs, but may not be looked at. Process numbers are used again; with the start they are not.
    """
    if not sys.platform.startswith("linux"):
        return _start_by_psutil(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "unknown" if _is_somebody_elses(pid) else None
    return None if fields[0] in "ZX" else fields[19]


def is_running(pid: int, start: str) -> bool:
    """Whether the process `pid` of this place is still the one that started at `start`."""
    found = start_of(pid)
    return found == start or (found is not None and "unknown" in (found, start))


def print_anything() -> None:
    """Print characters that the output's encoding lacks as escapes; else a path could end a run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _is_somebody_elses(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _start_by_psutil(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return "unknown"
