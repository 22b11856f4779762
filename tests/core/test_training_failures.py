"""What goes wrong in runs of days: nothing is lost but the steps since the last checkpoint.

The runs have two processes, frozen weights that are shared out and swapped, and everything else sharded (FSDP2).
"""

import os
import resource
import signal
import time

import pytest
import torch
from every_system import make_people, settings_of
from forked_runs import PROCESSES, Run
from training_settings import losses
from typed import present

from slotid_core.training import stall
from slotid_core.training.checkpoint import checkpoints, latest_checkpoint
from slotid_core.training.config import config_from_settings
from slotid_core.training.loop import Trainer, train
from slotid_core.weights import read_tensors

STEPS, SAVE_EVERY, AT = 6, 2, 5  # trouble comes in step 5, so that 4 is the checkpoint before it
LESS_THAN_A_CHECKPOINT = 20_000  # bytes
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, which starts them at once"),
]


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    torch.set_num_threads(1)
    return make_people(tmp_path_factory.mktemp("people"))


def values_of(people, **run) -> dict:
    run = {
        "steps": STEPS, "batch": 2, "micro_batch": 1, "save_every": SAVE_EVERY, "keep_last": 9, "validate_every": 3,
        "distribution": "fsdp",
    } | run  # fmt: skip
    return settings_of("slot_id", people, model={"activation_checkpointing": True, "swapped_blocks": 3}, run=run)


@pytest.fixture(scope="module")
def unbroken(people, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    run = Run(values_of(people), folder / "run")
    assert run.ended() == [0] * PROCESSES, run.text(0) + run.text(1)
    return folder / "run"


def goes_on(people, folder, unbroken, checkpoint: int) -> None:
    """The newest checkpoint is of step `checkpoint`, and the resumed run ends as the unbroken one did, to the bit."""
    assert present(latest_checkpoint(folder))[1]["step"] == checkpoint
    assert not (folder / "adapter.safetensors").exists()
    resumed = Run(values_of(people), folder, resume=True)
    assert resumed.ended() == [0] * PROCESSES, resumed.text(0) + resumed.text(1)
    assert losses(folder) == losses(unbroken) and sorted(losses(folder)) == list(range(STEPS))
    ours, theirs = (read_tensors(run / "adapter.safetensors")[0] for run in (folder, unbroken))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    left = {path.name for path in folder.iterdir()} ^ {path.name for path in unbroken.iterdir()}
    assert not left, "temporary files stay"


def reached(run: Run, folder, step: int) -> None:
    """Wait until a step is in the log."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if (folder / "log.jsonl").exists() and f'{{"step": {step},' in (folder / "log.jsonl").read_text():
            return
        time.sleep(0.005)
    raise AssertionError(f"step {step} was not reached: {run.text(0)}{run.text(1)}")


def before_step(trainer: Trainer, step: int, do) -> None:
    """Have `do` called when `trainer` begins a step."""
    begin = trainer.step

    def with_trouble(number, *arguments, **more):
        if number == step:
            do()
        return begin(number, *arguments, **more)

    trainer.step = with_trouble  # pyright: ignore[reportAttributeAccessIssue]


def test_swapped_and_sharded_the_run_is_that_of_one_process(people, unbroken, tmp_path):
    values = values_of(people, distribution="ddp")
    values["model"] |= {"swapped_blocks": 0}
    train(config_from_settings(values), tmp_path)
    one, two = losses(tmp_path), losses(unbroken)
    assert one.keys() == two.keys() and all(two[step] == pytest.approx(one[step], abs=1e-4) for step in one)


def test_all_processes_killed(people, unbroken, tmp_path):
    run = Run(values_of(people), tmp_path / "run")
    reached(run, tmp_path / "run", SAVE_EVERY)  # so that there is a checkpoint
    for rank in range(PROCESSES):
        run.kill(rank, signal.SIGKILL)
    assert run.ended() == [-signal.SIGKILL] * PROCESSES
    saved = present(latest_checkpoint(tmp_path / "run"))[1]["step"]
    assert max(losses(tmp_path / "run")) + 1 - saved <= SAVE_EVERY
    goes_on(people, tmp_path / "run", unbroken, checkpoint=saved)


def test_one_process_lost(people, unbroken, tmp_path):
    """The other one says so and ends, where it would wait for ever."""

    def fault(rank, trainer):
        if rank == 1:
            before_step(trainer, AT, lambda: os.kill(os.getpid(), signal.SIGKILL))

    run = Run(values_of(people), tmp_path / "run", fault=fault)
    assert run.ended() == [1, -signal.SIGKILL]
    assert "waited for another one of the 2 of this run, which has ended" in run.text(0)
    goes_on(people, tmp_path / "run", unbroken, checkpoint=4)


def test_a_disk_that_fills_up(people, unbroken, tmp_path):
    """As a full disk, where nobody may mount one: a limit on the size of files."""

    def fault(rank, trainer):
        if rank == 0:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            before_step(trainer, AT, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LESS_THAN_A_CHECKPOINT, -1)))

    run = Run(values_of(people), tmp_path / "run", fault=fault)
    assert run.ended() == [1, 1]
    assert "cannot be written" in run.text(0) and "which has ended" in run.text(1)
    assert next(path.name for path in checkpoints(tmp_path / "run")) == "step_00000004.safetensors"
    goes_on(people, tmp_path / "run", unbroken, checkpoint=4)


def test_a_number_that_is_none(people, unbroken, tmp_path):
    """In the samples of one process; all stop, and none saves."""

    def fault(rank, trainer):
        rows = trainer.batches.rows

        def spoilt(step, own):
            batch = rows(step, own)
            if rank == 1 and step == AT:
                batch.video[0, 0, 0, 0, 0] = float("nan")
            return batch

        trainer.batches.rows = spoilt

    run = Run(values_of(people), tmp_path / "run", fault=fault)
    assert run.ended() == [1, 1]
    for rank in range(PROCESSES):
        assert f"At step {AT} the loss is nan" in run.text(rank)
        assert "The last good checkpoint is of step 4" in run.text(rank)
    goes_on(people, tmp_path / "run", unbroken, checkpoint=4)


def stalling(seconds: float):
    """The second process's reader hangs for so long."""

    def fault(rank, trainer):
        rows = trainer.batches.rows

        def slow(step, own):
            if rank == 1 and step == AT:
                time.sleep(seconds)
            return rows(step, own)

        trainer.batches.rows = slow

    return fault


def test_a_reader_that_hangs_for_a_while(people, unbroken, tmp_path, monkeypatch):
    """Every process says what it waits for, and nothing is lost at all."""
    monkeypatch.setattr(stall, "SLOWER", 0)  # on a busy machine a step may take as long as the reader hangs
    run = Run(values_of(people, stalled_after=0.5), tmp_path / "run", fault=stalling(6))
    assert run.ended() == [0, 0], run.text(0) + run.text(1)
    assert f"computing, or the other processes' part, of step {AT}" in run.text(0)
    assert f"for reading the samples of step {AT}" in run.text(1)
    assert losses(tmp_path / "run") == losses(unbroken)


def test_a_reader_that_hangs_for_ever(people, unbroken, tmp_path):
    """Asked to stop, the run ends all the same."""
    run = Run(values_of(people, stalled_after=0.5), tmp_path / "run", fault=stalling(3600))
    reached(run, tmp_path / "run", AT - 1)
    for rank in range(PROCESSES):
        run.kill(rank, signal.SIGTERM)
    assert run.ended(within=60 + 2 * stall.STOPS_WITHIN) == [1, 1]
    assert f"still waits for the samples of step {AT}" in run.text(1)
    goes_on(people, tmp_path / "run", unbroken, checkpoint=4)
