"""A trained adapter is published with its tensors as they are, and without this machine's paths."""

import json

import torch

from slotid_core.weights import load_weights, save_weights
from tools.ship_adapter import main, ship_adapter, without_machine


def trained(folder):
    config = {
        "data": {"train": str(folder / "runs/people"), "more": [str(folder / "runs/others")], "validation": ""},
        "run": {"seed": 3, "start_from": "toy_world"},
    }
    header = {"kind": "st_drc_adapter", "version": 1, "training": {"steps": 40, "training_config": config}}
    tensors = {"a": torch.randn(3, 4), "b": torch.randn(5).half()}
    save_weights(folder / "adapter.safetensors", tensors, header)
    return folder / "adapter.safetensors", tensors


def test_tensors_stay_and_paths_of_the_machine_go(tmp_path):
    source, tensors = trained(tmp_path)
    (tmp_path / "figures.json").write_text('{"full.similarity": 0.5}')
    target = ship_adapter(
        source, tmp_path / "weights" / "st_drc_adapter.safetensors", "two stages", tmp_path / "figures.json"
    )
    read, header = load_weights(target, "st_drc_adapter", 1)
    assert all(torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype for name, tensor in tensors.items())
    config = header["training"]["training_config"]
    assert config["data"] == {"train": "output/runs/people", "more": ["output/runs/others"], "validation": ""}
    manifest = json.loads(target.with_suffix(".json").read_text())
    assert manifest["config"] == config and manifest["metrics"] == {"full.similarity": 0.5}
    assert (manifest["part"], manifest["steps"], manifest["seed"]) == ("st_drc_adapter", 40, 3)
    assert manifest["history"] == "two stages" and manifest["bytes"] == target.stat().st_size
    assert str(tmp_path) not in target.read_bytes().decode("latin-1") + target.with_suffix(".json").read_text()


def test_names_and_relative_paths_stay():
    values = {"path": "toy_world", "steps": 4, "files": ["output/a/b.safetensors", None], "own": {"rate": 0.5}}
    assert without_machine(values) == values


def test_the_command_writes_beside_the_other_weights(tmp_path, monkeypatch, capsys):
    source, _ = trained(tmp_path)
    monkeypatch.setattr("tools.ship_adapter.WEIGHTS", tmp_path / "weights")
    assert main([str(source), "st_drc_adapter"]) == 0
    assert "st_drc_adapter.safetensors" in capsys.readouterr().out
    assert (tmp_path / "weights/st_drc_adapter.json").is_file()
