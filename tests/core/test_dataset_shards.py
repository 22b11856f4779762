"""Shards: the same bytes however they came about, readable by anybody's tar, and never half of one."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dataset_settings import contents, drawn, models
from safetensors.torch import load
from typed import present

from slotid_core.config import config_to_dict
from slotid_core.dataset.__main__ import main
from slotid_core.dataset.config import FolderSource, PrepareConfig
from slotid_core.dataset.runner import Stopped, failures, prepare_dataset
from slotid_core.errors import SlotIDError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return models(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def prepared(checkpoints, tmp_path_factory):
    """Three shards of two clips, and the configuration that they were made with."""
    folder, config = tmp_path_factory.mktemp("prepared"), drawn(checkpoints)
    prepare_dataset(config, folder)
    return config, folder


def test_a_shard_is_plain_tar_with_nothing_of_this_machine_in_it(prepared):
    _config, folder = prepared
    with tarfile.open(folder / "shard-000001.tar") as tar:
        members = tar.getmembers()
        files = {member.name: present(tar.extractfile(member)).read() for member in members}
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}
    keys = {name.partition(".")[0] for name in files}
    assert set(files) == {f"{key}{ending}" for key in keys for ending in (".json", ".safetensors")} and len(keys) == 2
    for key in keys:
        tensors, facts = load(files[f"{key}.safetensors"]), json.loads(files[f"{key}.json"])
        assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
        assert tensors["video"].shape == (16, 2, 4, 4) and tensors["reference"].shape == (16, 2, 4, 4)
        assert tensors["portrait"].shape == (16, 1, 2, 2)
        assert tensors["text"].shape[1] == 4096 and (tensors["text"] != 0).any(dim=1).all()
        assert {"caption", "person", "clip", "window", "detector", "crop"} <= set(facts)


def test_the_index_points_at_the_tensors(prepared):
    _, folder = prepared
    whole = hashlib.sha256()
    manifest = json.loads((folder / "manifest.json").read_text())
    for shard in manifest["shards"]:
        data = (folder / f"{shard['name']}.tar").read_bytes()
        index = (folder / f"{shard['name']}.jsonl").read_bytes()
        whole.update(index)
        assert len(data) == shard["bytes"] and shard["samples"] == 2
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            members = {member.name: member for member in tar}
        for line in map(json.loads, index.splitlines()):
            part = data[line["offset"] : line["offset"] + line["size"]]
            assert members[line["key"] + ".safetensors"].offset_data == line["offset"]
            assert hashlib.sha256(part).hexdigest() == line["sha256"]
            assert {name: list(t.shape) for name, t in load(part).items()} == line["shapes"]
            assert line["text_rows"] == line["shapes"]["text"][0]
    assert manifest["sha256"] == whole.hexdigest()
    assert (manifest["samples"], manifest["clips"], manifest["people"], manifest["failed"]) == (6, 6, 3, 0)


@pytest.mark.parametrize("lost", [["shard-000001.tar"], ["shard-000000.jsonl", "manifest.json"], ["preparation.json"]])
def test_what_is_lost_is_made_again_to_the_byte(prepared, tmp_path, lost):
    config, folder = prepared
    copy(folder, tmp_path)
    for name in lost:
        (tmp_path / name).unlink()
    (tmp_path / ".shard-000002.77.part").write_bytes(b"left by a killed run")
    prepare_dataset(config, tmp_path)
    assert contents(tmp_path) == contents(folder)


def test_a_shard_cut_short_is_made_again(prepared, tmp_path):
    config, folder = prepared
    copy(folder, tmp_path)
    for name, keep in (("shard-000000.tar", 5000), ("shard-000002.jsonl", 100)):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:keep])
    prepare_dataset(config, tmp_path)
    assert contents(tmp_path) == contents(folder)


def test_whole_shards_are_not_made_again(prepared, tmp_path):
    config, folder = prepared
    copy(folder, tmp_path)
    stamps = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("shard-*")}
    prepare_dataset(replace(config), tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("shard-*")} == stamps


@pytest.mark.parametrize("after", [1, 2, 3])
def test_stopping_leaves_whole_shards_only_and_goes_on(prepared, tmp_path, after):
    config, folder = prepared
    seen: list[int] = []
    with pytest.raises(Stopped):
        prepare_dataset(config, tmp_path, lambda done, total: seen.append(done), lambda: seen[-1] >= after)
    assert seen[-1] == after  # not one clip more
    assert {path.name for path in tmp_path.glob("*.tar")} == {f"shard-{n:06d}.tar" for n in range(after // 2)}
    assert not list(tmp_path.glob(".*")) and not (tmp_path / "manifest.json").exists()
    prepare_dataset(config, tmp_path)
    assert contents(tmp_path) == contents(folder)


def test_a_killed_command_goes_on_to_the_same_bytes(prepared, tmp_path):
    config, folder = prepared
    output = tmp_path / "output"
    command = [sys.executable, "-m", "slotid_core.dataset", "--progress", "json", *options(config, tmp_path, output)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    for line in present(process.stdout):
        if json.loads(line).get("done", 0) >= 3:  # in the middle of the second shard
            process.kill()
            break
    assert process.wait(60) == -signal.SIGKILL
    assert (output / "shard-000000.jsonl").exists() and not (output / "manifest.json").exists()
    assert main(options(config, tmp_path, output)) == 0
    assert contents(output) == contents(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_told_to_stop_says_so_and_goes_on(prepared, tmp_path, capsys, number):
    config, folder = prepared
    output = tmp_path / "output"

    def stop_after_a_shard():
        while not (output / "shard-000000.jsonl").exists():
            time.sleep(0.001)
        os.kill(os.getpid(), number)

    handler = signal.getsignal(number)
    threading.Thread(target=stop_after_a_shard).start()
    assert main([*options(config, tmp_path, output), "--progress", "json"]) == 130
    assert "Run it again" in capsys.readouterr().err
    assert signal.getsignal(number) == handler
    assert not (output / "manifest.json").exists() and not list(output.glob(".*"))
    assert main([*options(config, tmp_path, output), "--progress", "json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[0]["done"] >= 2 and events[0]["total"] == 6
    assert [event["done"] for event in events[:-1]] == list(range(events[0]["done"], 7))
    assert events[-1]["event"] == "finished" and events[-1]["samples"] == 6
    assert contents(output) == contents(folder)


def options(config: PrepareConfig, folder: Path, output: Path) -> list[str]:
    settings = folder / "settings.json"
    settings.write_text(json.dumps(config_to_dict(config)))
    return ["--config", str(settings), "--output", str(output)]


def test_failures_are_listed_and_stop_nothing(checkpoints, tmp_path, capsys):
    for name in ("broken", "empty", "good"):
        (tmp_path / "clips").mkdir(exist_ok=True)
        (tmp_path / "clips" / f"{name}.mp4").write_bytes(b"" if name == "empty" else b"no video" * 99)
        (tmp_path / "clips" / f"{name}.txt").write_text("A person nods.")
    (tmp_path / "clips" / "mute.mp4").write_bytes(b"x")
    config = PrepareConfig(**checkpoints, folder=FolderSource(str(tmp_path / "clips")), clips_per_shard=3)
    output = tmp_path / "output"
    assert main(options(config, tmp_path, output)) == 1  # nothing at all came of it
    said = capsys.readouterr().err
    manifest = json.loads((output / "manifest.json").read_text())
    failed = {line["clip"].split("-")[0]: line["failed"] for line in failures(output, manifest)}
    assert set(failed) == {"broken", "empty", "good", "mute"} and manifest["failed"] == 4
    assert "no caption" in failed["mute"]
    assert all(f"{name}-" in said and reason in said for name, reason in failed.items())
    before = contents(output)
    prepare_dataset(config, output)
    assert contents(output) == before


def test_another_configuration_or_source_is_refused(prepared, tmp_path):
    config, folder = prepared
    copy(folder, tmp_path)
    for other, said in (
        (replace(config, margin=0.7), "margin"),
        (replace(config, toy_world=replace(config.toy_world, people=4)), "toy_world"),
    ):
        with pytest.raises(SlotIDError, match=said):
            prepare_dataset(other, tmp_path)
    assert contents(tmp_path) == contents(folder)


def test_a_folder_begun_before_a_setting_existed_goes_on(prepared, tmp_path):
    config, folder = prepared
    copy(folder, tmp_path)
    started = json.loads((tmp_path / "preparation.json").read_text())
    del started["config"]["margin"]
    (tmp_path / "preparation.json").write_text(json.dumps(started))
    prepare_dataset(config, tmp_path)
    with pytest.raises(SlotIDError, match="margin"):
        prepare_dataset(replace(config, margin=0.7), tmp_path)
    started["config"]["later"] = 1
    (tmp_path / "preparation.json").write_text(json.dumps(started))
    with pytest.raises(SlotIDError, match="later"):
        prepare_dataset(config, tmp_path)


def test_a_source_that_changed_is_refused(checkpoints, tmp_path):
    clips, output = tmp_path / "clips", tmp_path / "output"
    clips.mkdir()
    (clips / "one.mp4").write_bytes(b"x")
    config = PrepareConfig(**checkpoints, folder=FolderSource(str(clips)))
    prepare_dataset(config, output)
    (clips / "two.mp4").write_bytes(b"x")
    with pytest.raises(SlotIDError, match="have changed"):
        prepare_dataset(config, output)


def test_models_that_are_not_there_are_named(prepared, tmp_path):
    config, _ = prepared
    for name, said in (("vae", "no VAE file"), ("text_encoder", "no text encoder file")):
        with pytest.raises(SlotIDError, match=said):
            prepare_dataset(replace(config, **{name: str(tmp_path / "none.safetensors")}), tmp_path / name)
    wrong = replace(config, vae=config.text_encoder)
    with pytest.raises(SlotIDError, match="not a Wan 2.1 VAE"):
        prepare_dataset(wrong, tmp_path / "wrong")
    with pytest.raises(SlotIDError, match="--workers"):
        main(["--config", "x", "--output", "y", "--workers", "0"])


def copy(folder: Path, to: Path) -> None:
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
