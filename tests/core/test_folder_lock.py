"""One run at a time in a folder: who holds it is said, a dead holder is replaced, and nothing stays."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from dataset_settings import contents, drawn, models
from training_settings import command, make_world, run, settings, write_settings

from slotid_core.dataset.runner import prepare_dataset
from slotid_core.errors import SlotIDError
from slotid_core.evaluation.graph.command import evaluate_graph
from slotid_core.folder_lock import LOCK, SILENT_AFTER, only_run_in
from slotid_core.toy_world.training_loop import Schedule, train
from slotid_core.training.config import config_from_settings
from slotid_core.training.loop import train as train_adapter

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from slotid_core.folder_lock import only_run_in
with only_run_in(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""):
    print("held", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def hold():
    """Starts processes that hold a folder until they are killed, at the latest when the test ends."""
    started = []

    def start(folder: Path, *part: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder), *part], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    torch.set_num_threads(1)
    return make_world(tmp_path_factory.mktemp("world"))


def kill(process: subprocess.Popen, wait: bool = True) -> None:
    process.kill()
    if wait:
        process.wait()


def test_b8_the_second_run_is_told_who_holds_the_folder(hold, tmp_path):
    holder = hold(tmp_path)
    with pytest.raises(SlotIDError) as refused, only_run_in(tmp_path):
        pass
    for said in (str(tmp_path), f"process {holder.pid} on {os.uname().nodename}", time.strftime("since %Y-"), "-c"):
        assert said in str(refused.value)
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == holder.pid  # being refused changes nothing


@pytest.mark.parametrize("reaped", [True, False])
def test_b8_the_folder_of_a_dead_run_is_taken_over_and_swept(hold, tmp_path, reaped):
    """Also while nobody has asked for the end of the dead one, which then still has a number."""
    kill(hold(tmp_path), wait=reaped)
    time.sleep(0.2)
    (tmp_path / "person_1").mkdir()
    for left in (".person.json.part", ".step_00000005.safetensors.abc12345.tmp", "person_1/0.png.part", "log.tmp"):
        (tmp_path / left).write_bytes(b"left by a killed run of an earlier release")
    for own in ("notes.tmp", "holiday.mp4.part"):
        (tmp_path / own).write_bytes(b"somebody's own")
    with only_run_in(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["holiday.mp4.part", "notes.tmp", "person_1"]


def test_b8_a_process_number_that_is_used_again_holds_nothing(tmp_path):
    """The lock names this process's number, and the start of another one."""
    with only_run_in(tmp_path):
        values = json.loads((tmp_path / LOCK).read_text())
    (tmp_path / LOCK).write_text(json.dumps(values | {"start": "1"}))
    with only_run_in(tmp_path):
        pass
    (tmp_path / LOCK).write_text(json.dumps(values))
    with pytest.raises(SlotIDError, match=f"process {os.getpid()}"), only_run_in(tmp_path):
        pass


def test_b8_a_holder_on_another_host_counts_as_dead_once_it_is_silent(tmp_path):
    lock = tmp_path / LOCK
    there = {
        "pid": os.getpid(),
        "start": "1",
        "host": "elsewhere",
        "place": "elsewhere",
        "since": "noon",
        "command": "x",
    }
    lock.write_text(json.dumps(there))
    with (
        pytest.raises(SlotIDError, match="on elsewhere, since noon.*sign of life.*counts as dead"),
        only_run_in(tmp_path),
    ):
        pass
    silent = time.time() - SILENT_AFTER - 5
    os.utime(lock, (silent, silent))
    with only_run_in(tmp_path):
        pass
    assert not lock.exists()


def test_b8_a_holder_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr("slotid_core.folder_lock.RENEWED_EVERY", 0.1)
    with only_run_in(tmp_path):
        os.utime(tmp_path / LOCK, (1, 1))
        time.sleep(1)
        assert time.time() - (tmp_path / LOCK).stat().st_mtime < 5


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff", b'{"pid": "x", "start": 1}'])
def test_b8_a_damaged_lock_is_named_and_an_old_one_taken_over(tmp_path, monkeypatch, content):
    monkeypatch.setattr("slotid_core.folder_lock.WAIT", 0.3)
    lock = tmp_path / LOCK
    lock.write_bytes(content)
    with pytest.raises(SlotIDError, match=f"{LOCK} cannot be read.*delete it"), only_run_in(tmp_path):
        pass
    os.utime(lock, (1, 1))
    with only_run_in(tmp_path):
        pass


RACE = """
import sys, time
from pathlib import Path
from slotid_core.errors import SlotIDError
from slotid_core.folder_lock import only_run_in
folder = Path(sys.argv[1])
while not (folder.parent / "go").exists():
    time.sleep(0.001)
try:
    with only_run_in(folder):
        print("held", time.time(), flush=True)
        time.sleep(3)
except SlotIDError:
    print("refused", flush=True)
"""


@pytest.mark.parametrize("dead", [False, True])
def test_b8_of_many_that_start_at_once_one_runs(hold, tmp_path, dead):
    folder = tmp_path / "run"
    if dead:
        kill(hold(folder))
    racers = [
        subprocess.Popen([sys.executable, "-c", RACE, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(5)
    ]
    time.sleep(3)
    (tmp_path / "go").touch()
    said = [racer.communicate(timeout=60)[0].split()[0] for racer in racers]
    assert sorted(said) == ["held", *["refused"] * 4]
    assert not list(folder.iterdir())


def test_b8_two_trainers_of_one_folder(world, hold, tmp_path):
    holder = hold(tmp_path / "run")
    with pytest.raises(SlotIDError, match=f"process {holder.pid}"):
        train_adapter(config_from_settings(settings(world, run={"steps": 1})), tmp_path / "run")
    config = write_settings(tmp_path / "config.json", settings(world, run={"steps": 1}))
    said = run(command(config, tmp_path / "run", "--resume"))
    assert said.returncode == 1 and said.stderr.startswith("training: Another run is at work"), said.stderr
    kill(holder)
    made = train_adapter(config_from_settings(settings(world, run={"steps": 1})), tmp_path / "run")
    assert made is not None and made.is_file()
    assert not list((tmp_path / "run").glob(".*"))


def test_b8_two_preparations_of_one_folder_leave_each_others_work(hold, tmp_path):
    config = drawn(models(tmp_path / "models"), people=2, clips_per_person=1)
    output = tmp_path / "output"
    holder = hold(output)
    (output / ".shard-000000.1.part").write_bytes(b"the other's")
    before = contents(output)
    with pytest.raises(SlotIDError, match=f"process {holder.pid}"):
        prepare_dataset(config, output)
    assert contents(output) == before
    kill(holder)
    prepare_dataset(config, output)
    assert sorted(path.name for path in output.glob(".*")) == []


def test_b8_two_trainings_of_one_toy_model(hold, tmp_path):
    def go(name: str) -> None:
        module = torch.nn.Linear(1, 1)
        train(
            name,
            module,
            lambda step: (torch.ones(1, 1),),
            lambda _, x: (module(x).sum(), {}),
            Schedule(2, 0.1),
            tmp_path,
        )

    holder = hold(tmp_path, "vae")
    with pytest.raises(SlotIDError, match=f"process {holder.pid}"):
        go("vae")
    go("dit")  # another part of the family, in the same folder
    kill(holder)
    go("vae")
    assert not list(tmp_path.glob(".*"))


def test_b8_two_evaluations_of_one_folder(hold, tmp_path):
    from slotid_core.evaluation.__main__ import parser

    holder = hold(tmp_path)
    options = parser().parse_args(["graph", "--identities", "1", "--prompts", "1", "--folder", str(tmp_path)])
    with pytest.raises(SlotIDError, match=f"process {holder.pid}"):
        evaluate_graph(options)


def test_b8_a_folder_is_free_after_an_error_and_after_a_signal(world, tmp_path):
    with pytest.raises(KeyError), only_run_in(tmp_path):
        raise KeyError
    config = write_settings(tmp_path / "config.json", settings(world, run={"steps": 100_000}))
    process = subprocess.Popen(
        command(config, tmp_path / "run", "--progress", "json"), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    assert (tmp_path / "run" / LOCK).is_file()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert not (tmp_path / "run" / LOCK).exists() and not (tmp_path / LOCK).exists()
