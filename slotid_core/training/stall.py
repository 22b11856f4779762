"""A run that goes no further says so, and what it waits for; reading that hangs keeps no process from ending."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from typing import Generic, TypeVar

from ..errors import SlotIDError

T = TypeVar("T")
POLL = 0.2  # seconds between two looks
STOPS_WITHIN = 10.0  # seconds that a run which was asked to stop waits for what is being read
SLOWER = 4  # times the longest that the same work took before, which is no stall yet


class StallWatch:
    """Looks from a thread of its own at how long the work at hand takes.

    Args:
        after: seconds; work of a kind that took longer before may take `SLOWER` times as long. 0 never says anything.
        say: called with what is waited for and the seconds so far; again whenever they have doubled.
    """

    def __init__(self, after: float, say: Callable[[str, float], None]):
        self.after, self.say = after, say
        self._longest: dict[str, float] = {}
        self._at_work: tuple[str, str, float] | None = None  # kind, what, since when
        self._told_at = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="stall watch", daemon=True)

    def __enter__(self) -> "StallWatch":
        if self.after:
            self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        """A thread that outlives a run frees its process group while Python ends, which aborts the process."""
        self._ended.set()
        if self.after:
            self._thread.join(STOPS_WITHIN)

    @contextmanager
    def during(self, kind: str, of: str) -> Iterator[None]:
        """Work on something, such as `during("reading the samples", "step 7")`."""
        since = time.monotonic()
        self._told_at, self._at_work = 0.0, (kind, f"{kind} of {of}", since)
        try:
            yield
        finally:
            self._at_work = None
            self._longest[kind] = max(self._longest.get(kind, 0.0), time.monotonic() - since)

    def _look(self) -> None:
        while not self._ended.wait(min(POLL, self.after)):
            work = self._at_work
            if work is None:
                continue
            kind, what, since = work
            seconds = time.monotonic() - since
            if seconds > max(self.after, SLOWER * self._longest.get(kind, 0.0), 2 * self._told_at):
                self._told_at = seconds
                self.say(what, seconds)


class ReadAhead(Generic[T]):
    """Reads what the next step needs while a step goes on, in threads that are left behind where a process ends.

    Args:
        read: what a step needs, by its number.
        end: the number that no step has any more.
        patience: seconds that a run which was asked to stop waits for what is being read.
    """

    def __init__(self, read: Callable[[int], T], end: int, patience: float = STOPS_WITHIN):
        self.read, self.end, self.patience = read, end, patience
        self._coming: tuple[int, Future[T]] | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "ReadAhead[T]":
        return self

    def __exit__(self, *error) -> None:
        """A thread that is still at work while Python ends may take the process down; one that hangs is left."""
        if self._thread is not None:
            self._thread.join(self.patience)

    def result(self, step: int, stopping: Sequence[int] = ()) -> T:
        """What a step needs; the next step's is on its way when this returns.

        Args:
            stopping: is not empty once the run was asked to stop.

        Raises:
            SlotIDError: the run was asked to stop, and nothing came in `patience` seconds since.
        """
        if self._coming is None or self._coming[0] != step:
            self._start(step)
        assert self._coming is not None
        found = self._wait(self._coming[1], step, stopping)
        if step + 1 < self.end:
            self._start(step + 1)
        return found

    def _start(self, step: int) -> None:
        coming: Future[T] = Future()

        def work() -> None:
            try:
                coming.set_result(self.read(step))
            except BaseException as error:
                coming.set_exception(error)

        self._thread = threading.Thread(target=work, name="reader", daemon=True)
        self._thread.start()
        self._coming = step, coming

    def _wait(self, coming: "Future[T]", step: int, stopping: Sequence[int]) -> T:
        asked: float | None = None
        while True:
            try:
                return coming.result(POLL)
            except NotYet:
                if coming.done():  # the reader's own
                    raise
            if stopping and asked is None:
                asked = time.monotonic()
            if asked is not None and time.monotonic() - asked > self.patience:
                raise SlotIDError(
                    f"The run was asked to stop and still waits for the samples of step {step}, so it ends without "
                    "saving. Look at the disk or the network that the data lies on, then go on from the last "
                    "checkpoint with --resume."
                )
