"""Every kind of writer, killed at random moments: what is there is whole, and nothing else stays.

Each function here raises an AssertionError that names the seed where this does not hold.
"""

import itertools
import json
import os
import random
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch
from conftest import random_identity
from dataset_settings import contents, drawn, models
from PIL import Image
from training_settings import losses, make_world, settings

from slotid_core.dataset.runner import prepare_dataset
from slotid_core.files import sweep, write_json, write_text
from slotid_core.systems.slot_id import Identity, load_adapter
from slotid_core.systems.st_drc import Person
from slotid_core.toy_world.example import write_clip
from slotid_core.toy_world.person import sample_person
from slotid_core.training.checkpoint import latest_checkpoint, save_checkpoint
from slotid_core.training.config import config_from_settings
from slotid_core.training.events import keep_before, plot
from slotid_core.training.loop import train
from slotid_core.training.samples import save_sheet


def fork(work: Callable[[], object]) -> int:
    """The number of a child process that does `work` and ends, with code 1 if it raises."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def finish(work: Callable[[], object]) -> float:
    """Do `work` in a process of its own; the seconds that it took."""
    started = time.monotonic()
    _, status = os.waitpid(fork(work), 0)
    assert status == 0, "the writer failed"
    return time.monotonic() - started


def kill_after(seconds: float, work: Callable[[], object]) -> None:
    child = fork(work)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def write_log(folder: Path, number: int) -> None:
    """As a run that is resumed does: its log is cut, then its curve drawn."""
    log = folder / "log.jsonl"
    rows = [json.dumps({"step": step, "loss": 1.0}) for step in range(20 + number % 3)]
    write_text(log, "\n".join(rows) + "\n")
    keep_before(log, 20)
    plot(log, folder / "loss.png")


def read_log(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert 20 <= len(rows) <= 22
    if (folder / "loss.png").exists():
        Image.open(folder / "loss.png").load()


def save_a_checkpoint(folder: Path, number: int) -> None:
    tensors = {"trainable.x": torch.full((200, 500), float(number)), "average.x": torch.zeros(3)}
    save_checkpoint(folder, number, tensors, {"data_manifest": ""}, keep_last=2)


def read_checkpoints(folder: Path) -> None:
    paths = sorted(folder.glob("step_*.safetensors"))
    assert len(paths) <= 3  # the newest, and the two that were there before it
    found = latest_checkpoint(folder)
    assert found is not None
    tensors, header = found
    assert (tensors["trainable.x"] == header["step"]).all()
    assert paths[-1].name == f"step_{header['step']:08d}.safetensors"  # none had to be passed over


def read_clip(folder: Path) -> None:
    with av.open(str(folder / "x.mp4")) as clip:
        assert len(list(clip.decode(video=0))) == 9


# Kind -> write version number so and so; read whatever version is there; the names that may be there.
WRITERS: dict[str, tuple[Callable[[Path, int], object], Callable[[Path], object], str]] = {
    "json": (
        lambda folder, number: write_json(folder / "x.json", {"numbers": [number] * 20_000}),
        lambda folder: json.loads((folder / "x.json").read_text()),
        "x.json",
    ),
    "identity": (
        lambda folder, number: random_identity(number % 5).save(folder / "x.safetensors"),
        lambda folder: Identity.load(folder / "x.safetensors"),
        "x.safetensors",
    ),
    "st_drc person": (
        lambda folder, number: Person(torch.full((1, 16, 1, 32, 32), float(number))).save(folder / "x.safetensors"),
        lambda folder: Person.load(folder / "x.safetensors"),
        "x.safetensors",
    ),
    "checkpoint": (save_a_checkpoint, read_checkpoints, "step_*.safetensors"),
    "clip": (
        lambda folder, number: write_clip(folder / "x.mp4", sample_person(number % 5), 3, frames=9, size=64),
        read_clip,
        "x.mp4",
    ),
    "sheet": (
        lambda folder, number: save_sheet([torch.rand(5, 64, 64, 3)], folder / "x.png"),
        lambda folder: np.asarray(Image.open(folder / "x.png")),
        "x.png",
    ),
    "log and curve": (write_log, read_log, "lo*s*"),
}


def kill_a_writer(kind: str, folder: Path, kills: int, seed: int) -> int:
    """Kill one of `WRITERS` so many times in `folder`; how many of the kills left something unfinished for a while."""
    write, read, pattern = WRITERS[kind]
    moments = random.Random(seed)
    torch.set_num_threads(1)
    one = finish(lambda: write(folder, 1))
    left = 0

    def write_from(first: int) -> None:
        for number in itertools.count(first):
            write(folder, number)

    def others() -> set[str]:
        return {name for name in names(folder) if not Path(name).match(pattern) or "/" in name}

    for kill in range(kills):
        first = 2 + 100_000 * kill
        kill_after(moments.uniform(0, 4 * one), lambda: write_from(first))  # noqa: B023
        read(folder)
        left += bool(others())
        if moments.random() < 0.5:
            finish(lambda: write(folder, first + 99_999))  # noqa: B023
            assert not others(), (seed, others())
    finish(lambda: sweep(folder))
    assert not others(), (seed, others())
    return left


def kill_preparations(folder: Path, runs: int, seed: int) -> int:
    """Kill preparations of one to three starts each; the number of kills, after which the bytes are the same."""
    torch.set_num_threads(1)
    config = drawn(models(folder / "models"), people=3, clips_per_person=2)
    whole = folder / "whole"
    seconds = finish(lambda: prepare_dataset(config, whole))
    moments = random.Random(seed)
    kills = 0
    for number in range(runs):
        place = folder / str(number)
        for _ in range(moments.randrange(1, 4)):
            kill_after(moments.uniform(0, seconds), lambda: prepare_dataset(config, place))  # noqa: B023
            kills += 1
        finish(lambda: prepare_dataset(config, place))  # noqa: B023
        assert contents(place) == contents(whole), (seed, names(place))
    return kills


def kill_trainings(folder: Path, runs: int, seed: int) -> int:
    """Kill trainings of one to three starts each; the number of kills, after which the adapter is the same."""
    torch.set_num_threads(1)
    world = make_world(folder / "world")
    config = config_from_settings(settings(world, run={"steps": 12, "save_every": 3, "validate_every": 100}))
    whole = folder / "whole"
    seconds = finish(lambda: train(config, whole, as_json=True))
    moments = random.Random(seed)
    kills = 0
    for number in range(runs):
        place = folder / str(number)
        for _ in range(moments.randrange(1, 4)):
            kill_after(moments.uniform(0, seconds), lambda: train(config, place, resume=True))  # noqa: B023
            kills += 1
        finish(lambda: train(config, place, resume=True))  # noqa: B023
        assert losses(place) == losses(whole), seed
        ours, theirs = (load_adapter(run / "adapter.safetensors") for run in (place, whole))
        assert ours.fingerprint == theirs.fingerprint
        # TensorBoard has a file for each start.
        assert {name for name in names(place) if "/" not in name} == {name for name in names(whole) if "/" not in name}
    return kills
