"""Every toy training, killed and taken up again, goes through the very losses of one that was left alone."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from slotid_core.config import config_from_dict
from slotid_core.errors import SlotIDError
from slotid_core.toy_world.__main__ import PARTS
from slotid_core.toy_world.family import ship
from slotid_core.toy_world.judges import marks_in_view
from slotid_core.toy_world.person import MARKS, sample_person
from slotid_core.toy_world.train_mark_judge import with_other_marks
from slotid_core.toy_world.train_text_encoder import TextEncoderSettings, make_text_encoder
from slotid_core.toy_world.training_loop import Schedule, drawn, train
from slotid_core.wan.vae import WanVAE, WanVAEConfig
from slotid_core.weights import load_weights

ROOT = Path(__file__).resolve().parents[2]
# Settings for 20 steps in all, the stages, and at whose first checkpoint the run is killed.
TRAININGS = {
    "vae": (
        {
            "width": 8,
            "image_steps": 6,
            "clip_steps": 6,
            "motion_steps": 8,
            "image_batch": 2,
            "clip_batch": 1,
            "motion_batch": 1,
            "motion_length": 5,
            "save_every": 6,
        },
        ("vae_images", "vae_clips", "vae_motion"),
    ),
    "face_judge": ({"people": 8, "steps": 20, "batch": 4, "save_every": 12}, ("face_judge",)),
    "clip_judge": ({"steps": 20, "batch": 2, "save_every": 12}, ("clip_judge",)),
    "mark_judge": ({"steps": 20, "people": 1, "save_every": 12}, ("mark_judge",)),
    "face_recogniser": (
        {"width": 2, "people": 8, "steps": 20, "batch": 4, "through_vae": 1, "save_every": 12},
        ("face_recogniser",),
    ),
    "dit": (
        {
            "width": 128,
            "ffn_width": 128,
            "layers": 1,
            "clips": 4,
            "steps": 8,
            "word_steps": 4,
            "word_batch": 2,
            "motion_steps": 8,
            "batch": 2,
            "save_every": 4,
        },
        ("dit", "dit_words", "dit_motion"),
    ),
}
TRAIN = """
import json, sys, torch
from pathlib import Path
from slotid_core.config import config_from_dict
from slotid_core.toy_world.__main__ import PARTS
torch.set_num_threads(1)
part = PARTS[sys.argv[1]]()
part.train(Path(sys.argv[2]), config_from_dict(part.config, json.loads(sys.argv[3])))
"""


@pytest.fixture(scope="module", autouse=True)
def parts_that_others_need(tmp_path_factory):
    """A VAE and a text encoder with random weights, which are as good for this."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    ship("vae", WanVAE(WanVAEConfig(width=8)).state_dict(), {}, folder)
    ship("text_encoder", make_text_encoder(TextEncoderSettings(captions=200)), {}, folder)
    for part in ("clip_judge", "mark_judge", "face_recogniser", "dit"):
        TRAININGS[part][0]["weights"] = str(folder)


def start(part: str, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", TRAIN, part, str(folder), json.dumps(TRAININGS[part][0])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def train_here(part: str, folder: Path) -> None:
    """In this process, with as many threads as the others have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        settings, chosen = TRAININGS[part][0], PARTS[part]()
        chosen.train(folder, config_from_dict(chosen.config, settings))
    finally:
        torch.set_num_threads(threads)


def losses(folder: Path, stages: tuple[str, ...]) -> list[dict]:
    return [json.loads(line) for stage in stages for line in (folder / f"{stage}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("part", TRAININGS)
def test_a_killed_training_goes_on_as_if_nothing_had_happened(part, tmp_path):
    stages = TRAININGS[part][1]
    alone, disturbed = tmp_path / "alone", tmp_path / "disturbed"
    process = start(part, disturbed)
    while not (disturbed / f"{stages[-1]}.safetensors").exists() and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors

    train_here(part, disturbed)
    train_here(part, alone)
    assert len(losses(alone, stages)) == 20
    assert losses(disturbed, stages) == losses(alone, stages)
    for stage in stages:
        assert (disturbed / f"{stage}.safetensors").read_bytes() == (alone / f"{stage}.safetensors").read_bytes()
        assert (disturbed / f"{stage}.png").stat().st_size > 1000


def test_asked_to_stop_it_saves_the_step_it_is_at_and_goes_on_later(tmp_path):
    def run(folder: Path, stop_at: int | None):
        torch.manual_seed(0)
        module = torch.nn.Linear(4, 4)

        def draw(step):
            return (torch.randn(8, 4, generator=torch.Generator().manual_seed(step)),)

        def loss_of(step, x):
            if step == stop_at:
                signal.raise_signal(signal.SIGTERM)
            return module(x).square().mean(), {}

        train("part", module, draw, loss_of, Schedule(10, 1e-2, warmup=3), folder)
        return module.weight

    with pytest.raises(SystemExit, match="step 7"):
        run(tmp_path / "a", stop_at=6)
    assert load_weights(tmp_path / "a" / "part.safetensors", "toy_training", 1)[1]["step"] == 7
    assert torch.equal(run(tmp_path / "a", None), run(tmp_path / "b", None))
    assert losses(tmp_path / "a", ("part",)) == losses(tmp_path / "b", ("part",))


@pytest.mark.parametrize("steps", [3, 20])
def test_drawing_ahead_for_a_gpu_keeps_the_order_and_draws_each_step_once(steps):
    seen = []

    def draw(step):
        time.sleep(0.01 * (step % 3))  # later steps may be ready first
        seen.append(step)
        return (torch.tensor(float(step)),)

    steps_drawn = [int(batch) for (batch,) in drawn(draw, 1, steps, torch.device("cpu"), ahead=4)]
    assert steps_drawn == list(range(1, steps)) and sorted(seen) == steps_drawn


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    def run(width: int):
        module = torch.nn.Linear(width, 1)
        ones = torch.ones(1, width)
        train("part", module, lambda step: (ones,), lambda step, x: (module(x).sum(), {}), Schedule(2, 1e-3), tmp_path)

    run(3)
    with pytest.raises(SlotIDError, match="other settings"):
        run(4)


def test_every_part_is_killed_somewhere():
    assert set(TRAININGS) == set(PARTS) - {"text_encoder"}, "the text encoder is made, not trained"


def test_the_learning_rate_depends_on_the_step_alone():
    schedule = Schedule(steps=1000, learning_rate=1e-3, warmup=100, final_fraction=0.05)
    rates = [schedule(step) for step in range(1000)]
    assert max(rates) == rates[99] == 1e-3 and rates[0] == 1e-5
    assert all(a >= b for a, b in itertools.pairwise(rates[99:]))
    assert abs(rates[-1] - 5e-5) < 1e-7


def test_a_shipped_file_says_how_it_came_to_be(tmp_path):
    path = ship("vae", {"weight": torch.randn(3), "count": torch.tensor(3)}, {"steps": 7, "metrics": {}}, tmp_path)
    tensors, header = load_weights(path, "toy_world", 1)
    assert tensors["weight"].dtype == torch.float16 and tensors["count"].dtype == torch.int64
    manifest = json.loads(path.with_suffix(".json").read_text())
    assert header["steps"] == manifest["steps"] == 7 and manifest["bytes"] == path.stat().st_size
    assert manifest["machine"]["cores"] == os.cpu_count()


@pytest.mark.parametrize("turn", [1.0, -1.0])
def test_a_pair_for_the_judge_of_marks_differs_in_every_mark_in_view_and_nothing_else(turn):
    for seed in range(20):
        person = sample_person(seed)
        other = with_other_marks(person, turn)
        assert all(a != b for a, b in zip(marks_in_view(person, turn), marks_in_view(other, turn), strict=True))
        assert replace(other, **{name: getattr(person, name) for name in MARKS}) == person
