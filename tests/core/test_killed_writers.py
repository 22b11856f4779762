"""Every kind of writer, killed again and again at random moments: what is there is whole, and nothing else stays.

SLOTID_KILLS=200 asks for so many kills of each kind; a failure names the seed of its moments, for SLOTID_KILLS_SEED.
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
import pytest
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

KILLS = int(os.environ.get("SLOTID_KILLS", "20"))
SEED = int(os.environ.get("SLOTID_KILLS_SEED", str(random.randrange(1_000_000))))
FEW = max(2, KILLS // 5)  # of whole runs, which take longer
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="writers are forked, which starts them at once"),
]


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
    assert status == 0, f"the writer failed (seed {SEED})"
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


@pytest.mark.parametrize("kind", WRITERS)
def test_b10_a_killed_writer_leaves_a_whole_file_and_its_successor_nothing_else(tmp_path, kind):
    write, read, pattern = WRITERS[kind]
    moments = random.Random(SEED)
    torch.set_num_threads(1)
    one = finish(lambda: write(tmp_path, 1))
    left = 0

    def write_from(first: int) -> None:
        for number in itertools.count(first):
            write(tmp_path, number)

    def others() -> set[str]:
        return {name for name in names(tmp_path) if not Path(name).match(pattern) or "/" in name}

    for kill in range(KILLS):
        first = 2 + 100_000 * kill
        kill_after(moments.uniform(0, 4 * one), lambda: write_from(first))  # noqa: B023
        read(tmp_path)
        left += bool(others())
        if moments.random() < 0.5:
            finish(lambda: write(tmp_path, first + 99_999))  # noqa: B023
            assert not others(), (SEED, others())
    finish(lambda: sweep(tmp_path))
    assert not others(), (SEED, others())
    print(f"{kind}: {KILLS} kills, {left} of them left something unfinished, which is gone")


def test_b10_a_preparation_killed_at_random_ends_with_the_same_bytes(tmp_path):
    torch.set_num_threads(1)
    config = drawn(models(tmp_path / "models"), people=3, clips_per_person=2)
    whole = tmp_path / "whole"
    seconds = finish(lambda: prepare_dataset(config, whole))
    moments = random.Random(SEED)
    for number in range(FEW):
        folder = tmp_path / str(number)
        for _ in range(moments.randrange(1, 4)):
            kill_after(moments.uniform(0, seconds), lambda: prepare_dataset(config, folder))  # noqa: B023
        finish(lambda: prepare_dataset(config, folder))  # noqa: B023
        assert contents(folder) == contents(whole), (SEED, names(folder))


def test_b10_a_training_killed_at_random_ends_with_the_same_adapter(tmp_path):
    torch.set_num_threads(1)
    world = make_world(tmp_path / "world")
    config = config_from_settings(settings(world, run={"steps": 12, "save_every": 3, "validate_every": 100}))
    whole = tmp_path / "whole"
    seconds = finish(lambda: train(config, whole, as_json=True))
    moments = random.Random(SEED)
    for number in range(FEW):
        folder = tmp_path / str(number)
        for _ in range(moments.randrange(1, 4)):
            kill_after(moments.uniform(0, seconds), lambda: train(config, folder, resume=True))  # noqa: B023
        finish(lambda: train(config, folder, resume=True))  # noqa: B023
        assert losses(folder) == losses(whole), SEED
        ours, theirs = (load_adapter(place / "adapter.safetensors") for place in (folder, whole))
        assert ours.fingerprint == theirs.fingerprint
        # TensorBoard has a file for each start.
        assert {name for name in names(folder) if "/" not in name} == {name for name in names(whole) if "/" not in name}
