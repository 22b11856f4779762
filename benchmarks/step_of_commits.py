"""A training step of this checkout against that of an earlier commit: the same data, model, settings and steps.

    python -m benchmarks.step_of_commits COMMIT [--pairs 9] [--systems slot_id st_drc]

One process of each commit waits with its trainer; in turn, each does one step and tells its CPU seconds. The frozen
model has four blocks of width 512 in float32, and a step has two samples of 720 tokens.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from benchmarks.paired import Ratio
from slotid_core.toy_world.random_checkpoints import random_checkpoints
from slotid_core.wan import WanConfig, WanModel
from slotid_core.weights import save_weights

ROOT = Path(__file__).resolve().parents[1]
SYSTEMS = ("slot_id", "lynx", "st_drc", "lavie_id")
SIDE, FRAMES, SAMPLES = 192, 17, 2
TOKENS = SAMPLES * (FRAMES + 3) // 4 * (SIDE // 16) ** 2
SHAPE = WanConfig(dim=512, ffn_dim=2048, num_layers=4, num_heads=4)
STREAM = {"width": 256, "num_heads": 4, "global_width": 128}
ADAPTERS: dict[str, dict] = {
    "slot_id": {"encoder": STREAM, "anchor": STREAM},
    "lynx": {"resampler": {"width": 256, "depth": 2, "num_heads": 4, "num_tokens": 16, "mlp_width": 512}},
    "st_drc": {"lora": {"rank": 32, "alpha": 32.0}},
    "lavie_id": {"vision": {"kind": "own", "width": 128, "pooled_width": 64, "levels": [0, 1], "patch": 8, "heads": 4}},
}
# Runs in either tree: what it uses has been there, by these names, since the trainer of several systems.
WORKER = """
import json, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from slotid_core.training.config import config_from_settings
from slotid_core.training.loop import Trainer
from slotid_core.training.processes import start_processes
values = json.loads(sys.argv[1])
trainer = Trainer(config_from_settings(values), Path(sys.argv[2]), start_processes())
for line in sys.stdin:
    step = int(line)
    batch = trainer.batches.rows(step, range(values["run"]["batch"]))
    started = time.process_time()
    figures, _ = trainer.step(step, batch, stopping=False)
    print(json.dumps([time.process_time() - started, figures["loss"]]), flush=True)
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.step_of_commits", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("commit", help="as git names it")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as made, earlier_tree(options.commit, Path(made) / "tree") as tree:
        folder = prepared(Path(made), tree)
        for system in options.systems:
            values = settings(system, folder)
            for line in compared(system, values, tree, folder, options.pairs):
                print(line, flush=True)
    return 0


@contextmanager
def earlier_tree(commit: str, place: Path) -> Iterator[Path]:
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(place), commit], check=True)
    try:
        yield place
    finally:
        subprocess.run([*git, "remove", "--force", str(place)], check=True)


def prepared(folder: Path, tree: Path) -> Path:
    """The folder with a model, and with data that the earlier tree prepared, which both can read."""
    files = random_checkpoints(folder / "models")
    config = {
        "vae": str(files.vae), "text_encoder": str(files.text_encoder), "systems": list(SYSTEMS), "height": SIDE,
        "width": SIDE, "frames": FRAMES, "portrait_size": 64, "reference_size": 64, "reference_frames": FRAMES,
        "toy_world": {"people": 2, "clips_per_person": 2}, "face_encoder": "toy_world", "augmentation": {"count": 1},
    }  # fmt: skip
    (folder / "data.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-m", "slotid_core.dataset", "--config", str(folder / "data.yaml")]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    subprocess.run([*command, "--output", str(folder / "data")], cwd=tree, env=environment, check=True)
    torch.manual_seed(0)
    save_weights(folder / "backbone.safetensors", WanModel(SHAPE).state_dict(), {"kind": "backbone", "version": 1})
    return folder


def settings(system: str, folder: Path) -> dict:
    return {
        "system": system,
        "data": {"train": str(folder / "data")},
        "model": {"path": str(folder / "backbone.safetensors"), "dtype": "float32", "compute_dtype": "float32"},
        "run": {"steps": 1000, "batch": SAMPLES, "micro_batch": 1},
        "adapter": ADAPTERS[system],
    }


def compared(system: str, values: dict, tree: Path, folder: Path, pairs: int) -> Iterator[str | Ratio]:
    seconds: dict[Path, list[float]] = {tree: [], ROOT: []}
    losses: dict[Path, list[float]] = {tree: [], ROOT: []}
    with ExitStack() as stack:
        workers = {place: stack.enter_context(worker(place, values, folder)) for place in seconds}
        for pair in range(pairs + 1):
            # Whoever comes second finds warmer caches, so they take turns; the first pair warms up.
            for place in (tree, ROOT) if pair % 2 else (ROOT, tree):
                taken, loss = one_step(workers[place], pair)
                losses[place].append(loss)
                if pair:
                    seconds[place].append(taken)
    ratios = sorted(earlier / now for earlier, now in zip(seconds[tree], seconds[ROOT], strict=True))
    low, median, high = statistics.quantiles(ratios, n=4)
    yield Ratio(f"{system}: tokens a second, this checkout / the earlier commit", median, low, high)
    rates = [TOKENS / statistics.median(seconds[place]) for place in (tree, ROOT)]
    drift = max(abs(a - b) for a, b in zip(losses[tree], losses[ROOT], strict=True))
    yield f"  {rates[0]:.0f} and {rates[1]:.0f} tokens a CPU second; losses of the same steps differ by {drift:.1g}"


@contextmanager
def worker(tree: Path, values: dict, folder: Path) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, json.dumps(values), str(folder / "run")], cwd=tree, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(tree)},
    )  # fmt: skip
    with process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def one_step(process: subprocess.Popen, number: int) -> tuple[float, float]:
    """CPU seconds and loss of a step."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{number}\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("The process of a commit ended; what it printed says why.")
    taken, loss = json.loads(line)
    return taken, loss


if __name__ == "__main__":
    sys.exit(main())
