"""Training runs of several processes, forked so that they start at once, and what may go wrong in one of them."""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

# What a run imports when it needs it is here for all that are forked.
import matplotlib.pyplot
import torch.distributed.fsdp
import torch.distributed.tensor
import torch.utils.tensorboard
from killed_writers import fork

from slotid_core.training.config import config_from_settings
from slotid_core.training.loop import Trainer, train

LOADED = (matplotlib.pyplot, torch.distributed.fsdp, torch.distributed.tensor, torch.utils.tensorboard)
PROCESSES = 2
Fault = Callable[[int, Trainer], None]  # in a process, by its rank, before its run


class Run:
    """A run of `PROCESSES` processes in `folder`; what each prints lies in `said`."""

    def __init__(self, values: dict, folder: Path, resume: bool = False, fault: Fault | None = None):
        folder.mkdir(exist_ok=True)
        port = free_port()
        self.said = [folder.with_name(f"{folder.name}_said_{rank}.txt") for rank in range(PROCESSES)]
        self.children = [
            fork(lambda rank=rank: self.work(rank, port, values, folder, resume, fault)) for rank in range(PROCESSES)
        ]

    def work(self, rank: int, port: int, values: dict, folder: Path, resume: bool, fault: Fault | None) -> None:
        sys.stdout = sys.stderr = self.said[rank].open("w", buffering=1)  # by lines, as the end flushes nothing
        logging.basicConfig(stream=sys.stderr, force=True)  # pytest's own handlers keep warnings to themselves
        place = {"RANK": rank, "WORLD_SIZE": PROCESSES, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in place.items()})
        if fault is not None:
            begin = Trainer.run

            def run(trainer: Trainer, *arguments):
                fault(rank, trainer)
                return begin(trainer, *arguments)

            Trainer.run = run  # pyright: ignore[reportAttributeAccessIssue]
        train(config_from_settings(values), folder, resume, as_json=True)

    def ended(self, within: float = 500.0) -> list[int]:
        """Exit codes of all processes, negative for signals.

        Raises:
            AssertionError: one is still at work after so many seconds; all are killed then.
        """
        codes: dict[int, int] = {}
        until = time.monotonic() + within
        while len(codes) < PROCESSES and time.monotonic() < until:
            for rank, child in enumerate(self.children):
                ended, status = (0, 0) if rank in codes else os.waitpid(child, os.WNOHANG)
                if ended:
                    codes[rank] = os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        hanging = [rank for rank in range(PROCESSES) if rank not in codes]
        for rank in hanging:
            self.kill(rank, signal.SIGKILL)
            os.waitpid(self.children[rank], 0)
        assert not hanging, f"processes {hanging} are still at work: {[self.text(rank) for rank in hanging]}"
        return [codes[rank] for rank in range(PROCESSES)]

    def kill(self, rank: int, number: int) -> None:
        os.kill(self.children[rank], number)

    def text(self, rank: int) -> str:
        """What a process has printed so far."""
        return self.said[rank].read_text()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
