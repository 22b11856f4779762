"""A backbone of two blocks, drawn people in small shards, and settings that train on them in seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from dataset_settings import drawn, models

from slotid_core.dataset.runner import prepare_dataset
from slotid_core.wan import WanConfig, WanModel
from slotid_core.weights import save_weights

STREAM = {"width": 64, "num_heads": 2, "global_width": 32}
ADAPTER = {
    "encoder": STREAM, "anchor": STREAM, "reference_size": 32, "reference_frames": 5, "portrait_size": 16,
    "film_rank": 4, "lora": {"rank": 4, "alpha": 4.0},
}  # fmt: skip


def make_world(folder: Path) -> Path:
    """`folder` with data/, held_out/ and backbone.safetensors."""
    files = models(folder / "models")
    prepare_dataset(drawn(files, people=4, clips_per_person=2), folder / "data")
    prepare_dataset(drawn(files, people=4, clips_per_person=1), folder / "held_out")
    torch.manual_seed(0)
    backbone = WanModel(WanConfig(dim=128, ffn_dim=128, num_layers=2, num_heads=1))
    save_weights(folder / "backbone.safetensors", backbone.state_dict(), {"kind": "backbone", "version": 1})
    return folder


def settings(world: Path, **changes) -> dict:
    """Settings as a file holds them; `changes` by section, such as run={"steps": 3}."""
    values = {
        "data": {"train": str(world / "data"), "validation": str(world / "held_out")},
        "model": {
            "path": str(world / "backbone.safetensors"), "dtype": "float32", "compute_dtype": "float32",
        },
        "run": {
            "steps": 20, "batch": 4, "micro_batch": 2, "save_every": 5, "validate_every": 10, "validation_samples": 4,
        },
        "adapter": ADAPTER,
        "optimizer": {"learning_rate": 1e-3, "warmup_steps": 2},
    }  # fmt: skip
    for section, change in changes.items():
        values[section] = {**values.get(section, {}), **change} if isinstance(change, dict) else change
    return values


def write_settings(path: Path, values: dict) -> Path:
    path.write_text(json.dumps(values))
    return path


def command(config: Path, output: Path, *arguments: str, processes: int = 1) -> list[str]:
    module = ["-m", "slotid_core.training", "--config", str(config), "--output", str(output), "--threads", "1"]
    if processes == 1:
        return [sys.executable, *module, *arguments]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [*launcher, *module, *arguments]


def run(arguments: list[str], **settings) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=300, **settings)


def losses(output: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}
