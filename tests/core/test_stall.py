"""A run that waits says so once, again when the wait has doubled, and not for what always takes long."""

import threading
import time
import weakref

import pytest

from slotid_core.errors import SlotIDError
from slotid_core.training.stall import SLOWER, ReadAhead, StallWatch


def watched(after: float, *waits: tuple[str, float]) -> list[str]:
    told: list[str] = []
    with StallWatch(after, lambda what, seconds: told.append(what)) as watch:
        for number, (kind, seconds) in enumerate(waits):
            with watch.during(kind, f"step {number}"):
                time.sleep(seconds)
    return told


def test_only_what_takes_long_is_said():
    assert watched(0.2, ("reading", 0.01), ("reading", 0.7), ("saving", 0.01)).count("reading of step 1") in (1, 2)
    assert watched(0.0, ("reading", 0.5)) == []


def test_what_always_takes_long_is_no_stall():
    # On a busy machine the first may be said twice.
    assert set(watched(0.1, ("computing", 0.3), ("computing", 0.3 * SLOWER / 4))) == {"computing of step 0"}


def test_no_thread_outlives_a_run_and_holds_what_it_was_given():
    """One that did freed a process group of torch while Python ended, and the process aborted."""

    class Run:
        def say(self, what: str, seconds: float) -> None:
            pass

        def read(self, step: int) -> int:
            return step

    run = Run()
    with StallWatch(30.0, run.say), ReadAhead(run.read, end=3) as reader:
        reader.result(0)
    assert not {thread.name for thread in threading.enumerate()} & {"stall watch", "reader"}
    held = weakref.ref(run)
    del run, reader
    assert held() is None


def test_the_next_step_is_read_while_this_one_goes_on_and_none_behind_the_last():
    read: list[int] = []
    with ReadAhead(lambda step: read.append(step) or step, end=3) as reader:
        assert reader.result(0) == 0
        until = time.monotonic() + 5
        while read != [0, 1] and time.monotonic() < until:
            time.sleep(0.01)
        assert read == [0, 1] and reader.result(1) == 1 and reader.result(2) == 2
    assert read == [0, 1, 2]


def test_an_error_of_the_reader_is_the_run_s():
    def read(step):
        raise TimeoutError("the disk did not answer")

    with ReadAhead(read, end=3) as reader, pytest.raises(TimeoutError, match="did not answer"):
        reader.result(0)


def test_a_reader_that_hangs_ends_with_the_run_that_was_asked_to_stop():
    hangs = threading.Event()
    started = time.monotonic()
    refused = pytest.raises(SlotIDError, match="still waits for the samples of step 0.*--resume")
    with ReadAhead(lambda step: hangs.wait(60), end=3, patience=0.3) as reader, refused:
        reader.result(0, stopping=[15])
    assert time.monotonic() - started < 30
    hangs.set()
