"""Writing: whole or not at all, nothing left of killed writers or on full disks, and errors that name the disk."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import random_identity
from dataset_settings import drawn, models
from safetensors.torch import save_file
from training_settings import command, make_world, run, settings, write_settings

from slotid_core.dataset.runner import prepare_dataset
from slotid_core.errors import SlotIDError
from slotid_core.files import ABANDONED_AFTER, disk_errors, sweep, whole_file, write_json
from slotid_core.toy_world.example import write_clip
from slotid_core.toy_world.person import sample_person
from slotid_core.training.samples import save_sheet

ROOT = Path(__file__).parents[2]


@pytest.fixture
def full_disk(tmp_path):
    """A disk of 256 KB; full once it holds a file of that size."""
    yield from mounted(tmp_path / "disk", "size=256k")


def mounted(folder: Path, options: str):
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def killed_while_writing(folder: Path) -> int:
    """The number of a process that was killed in the middle of writing `folder`/x.json."""
    script = f"""
from slotid_core.files import whole_file
import time
with whole_file({str(folder / "x.json")!r}) as unfinished:
    unfinished.write_text("half")
    print("writing", flush=True)
    time.sleep(100)
"""
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    return process.pid


def test_b10_what_a_killed_writer_left_goes_when_the_next_one_writes(tmp_path):
    killed_while_writing(tmp_path)
    assert len(names(tmp_path)) == 2  # the temporary folder and what is in it
    write = "from slotid_core.files import write_json; import sys; write_json(sys.argv[1], {})"
    subprocess.run([sys.executable, "-c", write, tmp_path / "y.json"], cwd=ROOT, check=True)
    assert names(tmp_path) == ["y.json"]


def test_b10_what_a_living_writer_writes_stays(tmp_path):
    with whole_file(tmp_path / "x.json") as unfinished:
        unfinished.write_text("half")
        sweep(tmp_path)
        assert unfinished.exists()
    assert names(tmp_path) == ["x.json"]


def test_b10_leftovers_of_unknown_writers_go_after_a_day(tmp_path):
    other_host = tmp_path / ".slotid-00000000-1-0.part"
    other_host.mkdir()
    earlier = tmp_path / ".ann.safetensors.k3b_x91a.tmp"
    foreign = tmp_path / ".somebody.tmp"
    for file in (other_host / "file", earlier, foreign):
        file.write_bytes(b"half")
    sweep(tmp_path)
    assert len(names(tmp_path)) == 4
    long_ago = time.time() - ABANDONED_AFTER - 60
    for file in (other_host, earlier, foreign):
        os.utime(file, (long_ago, long_ago))
    sweep(tmp_path)
    assert len(names(tmp_path)) == 3, "what lies in the folder is new, so somebody writes there"
    os.utime(other_host / "file", (long_ago, long_ago))
    os.utime(other_host, (long_ago, long_ago))
    sweep(tmp_path)
    assert names(tmp_path) == [".somebody.tmp"]


def test_b10_files_have_the_mode_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        random_identity().save(tmp_path / "ann.safetensors")
        write_json(tmp_path / "x.json", {})
        (tmp_path / "plain").write_text("x")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


def save_shard(folder: Path) -> None:
    config = drawn(models(folder.parent / "models"), people=1, clips_per_person=1)
    prepare_dataset(config, folder)


WRITERS = {
    "weights": lambda folder: random_identity().save(folder / "ann.safetensors"),
    "json": lambda folder: write_json(folder / "x.json", {"text": "x" * 100_000}),
    "clip": lambda folder: write_clip(folder / "x.mp4", sample_person(3), 3, frames=9),
    "sheet": lambda folder: save_sheet([torch.rand(5, 200, 200, 3)], folder / "x.png"),
    "plain safetensors": lambda folder: whole_safetensors(folder / "x.safetensors"),
    "preparation": save_shard,
}


def whole_safetensors(path: Path) -> None:
    with whole_file(path, ending="") as unfinished:
        save_file({"x": torch.zeros(30_000)}, unfinished)


@pytest.mark.parametrize("what", WRITERS)
def test_b11_a_full_disk_is_named_and_nothing_is_left_on_it(full_disk, what):
    filler = full_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
        file.truncate(file.tell() - 4096)  # a page, which a folder takes
    before = names(full_disk)
    with pytest.raises(SlotIDError, match=f"{full_disk}.* cannot be written.*full. Make room"):
        WRITERS[what](full_disk)
    assert names(full_disk) == before


@pytest.mark.parametrize("what", WRITERS)
def test_b11_a_read_only_disk_is_named(tmp_path, what):
    for folder in mounted(tmp_path / "disk", "size=1m"):
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        with pytest.raises(SlotIDError, match=f"{folder}.* cannot be written .*Read-only"):
            WRITERS[what](folder)


@pytest.mark.parametrize("what", [name for name in WRITERS if name != "preparation"])
def test_b11_a_file_size_limit_is_named_and_nothing_is_left(tmp_path, what):
    """As a full disk, where nobody may mount one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "folder").mkdir()
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(SlotIDError, match="cannot be written"):
            WRITERS[what](tmp_path / "folder")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert names(tmp_path / "folder") == []


def test_b11_a_name_that_no_disk_takes_and_a_folder_that_is_a_file(tmp_path):
    with pytest.raises(SlotIDError, match="File name too long.*another name"):
        random_identity().save(tmp_path / f"{'x' * 300}.safetensors")
    (tmp_path / "file").write_text("x")
    with pytest.raises(SlotIDError, match="cannot be written"):
        random_identity().save(tmp_path / "file" / "ann.safetensors")
    assert names(tmp_path) == ["file"]


def test_b11_a_training_on_a_full_disk_says_so_keeps_its_checkpoint_and_goes_on(tmp_path):
    """The disk fills up between two checkpoints."""
    torch.set_num_threads(1)
    world = make_world(tmp_path / "world")
    config = write_settings(tmp_path / "config.json", settings(world, run={"steps": 80, "save_every": 5}))
    for folder in mounted(tmp_path / "disk", "size=60m"):
        process = subprocess.Popen(
            command(config, folder / "run", "--progress", "json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "saved":
                break
        with pytest.raises(OSError), (folder / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        said = process.communicate(timeout=100)[1]
        assert process.returncode == 1
        assert said.splitlines()[-1].startswith("training: ") and "full. Make room" in said, said
        left = [path.name for path in (folder / "run").glob("*") if path.name.startswith(".") or ".part" in path.name]
        assert not left
        (folder / "filler").unlink()
        config = write_settings(tmp_path / "config.json", settings(world, run={"steps": 80, "save_every": 50}))
        gone_on = run(command(config, folder / "run", "--resume", "--set", "run.validate_every=300"))
        assert gone_on.returncode == 0, gone_on.stderr


def test_b11_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(KeyError), whole_file(tmp_path / "x"):
        raise KeyError
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path, only_full=True):
        (tmp_path / "none").read_text()
    assert names(tmp_path) == []
