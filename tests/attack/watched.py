"""A child process that reads damaged files one after another, with a limit of time and memory for each."""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

from slotid_core.errors import SlotIDError

from . import ROOT
from .outside import SITE, Outside
from .table import LIMIT_MEMORY, LIMIT_SECONDS, Row

WORKER = ("-m", "tests.attack.worker")
STARTS_WITHIN = 300.0  # seconds, with all imports and one good file of each kind


class Watched:
    """Use as a context manager. A child that dies, hangs or grows is replaced by a new one."""

    def __init__(self, outside: Outside, log: Path, command: tuple[str, ...] = WORKER):
        self._outside, self._log, self._command = outside, log, command
        self._child: subprocess.Popen | None = None
        self._base = 0.0
        self._unread = b""

    def __enter__(self) -> "Watched":
        self._start()
        return self

    def __exit__(self, *exception) -> None:
        self._end()

    def attack(self, row: Row, case: str, job: dict) -> None:
        """Give the child a job and count what comes of it.

        Args:
            job: what `worker.HANDLERS` takes: "kind", "path" and settings of that kind.
        """
        if self._child is None:
            self._start()
        assert self._child is not None and self._child.stdin is not None
        self._child.stdin.write(json.dumps(job).encode() + b"\n")
        self._child.stdin.flush()
        reply = self._answer(LIMIT_SECONDS, row)
        if reply is None:
            row.count(*self._verdict(case))
            self._end()
        else:
            row.memory = max(row.memory, reply["peak"] - self._base)
            row.count(reply["result"], case, reply["said"])
        row.add("outside", case, self._outside.touched())

    def _verdict(self, case: str) -> tuple[str, str, str]:
        assert self._child is not None
        if self._child.poll() is None and memory_of(self._child.pid) - self._base < LIMIT_MEMORY:
            return "hung", case, f"no answer in {LIMIT_SECONDS:g} s"
        if self._child.poll() is None:
            return "crashed", case, f"it took {memory_of(self._child.pid) - self._base:.0f} MiB"
        return "crashed", case, f"the process ended with {self._child.returncode}"

    def _start(self) -> None:
        environment = os.environ | self._outside.environment() | {"PYTHONPATH": f"{SITE}:{ROOT}"}
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, *self._command], cwd=self._log.parent, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip
        self._unread = b""
        reply = self._answer(STARTS_WITHIN)
        if reply is None:
            self._end()
            raise SlotIDError(f"The child that reads damaged files did not start; see {self._log}.")
        self._base = memory_of(self._child.pid)
        self._outside.touched()

    def _answer(self, seconds: float, row: Row | None = None) -> dict | None:
        """The child's next line, or None if it ends, grows beyond the limit, or takes longer."""
        assert self._child is not None and self._child.stdout is not None
        descriptor = self._child.stdout.fileno()
        clock = Clock(self._child.pid)
        while b"\n" not in self._unread:
            if clock.seconds() > seconds:
                return None
            if select.select([descriptor], [], [], 0.05)[0]:
                piece = os.read(descriptor, 2**16)
                if not piece:
                    self._child.wait()
                    return None
                self._unread += piece
            elif row is not None:
                grown = memory_of(self._child.pid) - self._base
                row.memory = max(row.memory, grown)
                if grown >= LIMIT_MEMORY:
                    return None
        line, self._unread = self._unread.split(b"\n", 1)
        return json.loads(line)

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe is not None:
                    pipe.close()
            self._child = None


class Clock:
    """Seconds since it was made in which a process ran or slept.

    Those in which it was ready and all processors were taken by others do not count: on a busy machine they would make
    a hang of anything.
    """

    def __init__(self, pid: int):
        self._pid, self._start, self._waited = pid, time.monotonic(), waits_of(pid)

    def seconds(self) -> float:
        waits = waits_of(self._pid)
        waited = max((value - self._waited.get(thread, 0.0) for thread, value in waits.items()), default=0.0)
        return time.monotonic() - self._start - waited


def waits_of(pid: int) -> dict[str, float]:
    """Seconds that each thread of a process has waited for a processor; empty where the system does not say."""
    waits = {}
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            waits[file.parent.name] = int(file.read_text().split()[1]) / 1e9
        except (OSError, IndexError):  # the thread has ended
            continue
    return waits


def memory_of(pid: int, field: str = "VmRSS") -> float:
    """MiB of a process: what it holds now, or the most it has held ("VmHWM"); 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith(f"{field}:")), 0.0)
