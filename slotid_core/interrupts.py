"""Being asked to stop: the work in progress ends and is saved first."""

import signal
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager

# On Windows a parent process can send only the last of these.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGBREAK] if sys.platform == "win32" else []))
BEAT = 0.1  # seconds
Progress = Callable[[int, int], None]  # (done, total); raises to stop the work


@contextmanager
def stop_signals():
    """A list that fills when one of `STOP_SIGNALS` comes."""
    received: list[int] = []
    before = {number: signal.signal(number, lambda n, frame: received.append(n)) for number in STOP_SIGNALS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Heartbeat:
    """Repeats the last report of progress, ten times a second at most, while work goes on that makes none.

    Who stops the work does it by raising from `progress`. Call an instance as often as there is a place for it.
    """

    def __init__(self, progress: Progress | None, total: int = 1):
        self._progress = progress
        self._last = (0, total)
        self._when = time.monotonic()

    def __call__(self) -> None:
        if self._progress and time.monotonic() - self._when >= BEAT:
            self.report(*self._last)

    def report(self, done: int, total: int) -> None:
        self._last, self._when = (done, total), time.monotonic()
        if self._progress:
            self._progress(done, total)
