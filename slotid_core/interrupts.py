"""Being asked to stop: the work in progress ends and is saved first."""

import signal
import sys
from contextlib import contextmanager

# On Windows a parent process can send only the last of these.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGBREAK] if sys.platform == "win32" else []))


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
