"""Two experts, image-to-video, stratified noise levels: which levels are drawn, and runs of each, resumed."""

from typing import Any

import numpy as np
import pytest
import torch
from dataset_settings import drawn, models
from every_system import ADAPTERS, BLOCKS, make_people, settings_of
from training_settings import command, losses, write_settings
from training_settings import run as start
from typed import one_size, present

from slotid_core.dataset.cached import CachedDataset
from slotid_core.dataset.runner import prepare_dataset
from slotid_core.errors import SlotIDError
from slotid_core.training.checkpoint import checkpoints
from slotid_core.training.config import config_from_settings
from slotid_core.training.loop import Trainer, train
from slotid_core.training.noise import HIGH, LOW, NoiseLevels, unshifted
from slotid_core.training.processes import start_processes
from slotid_core.wan import WanConfig, WanModel
from slotid_core.wan.sampling import shifted
from slotid_core.weights import read_tensors, save_weights


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Data, a text-to-video model in two experts, and an image-to-video one with data of its own."""
    torch.set_num_threads(1)
    folder = make_people(tmp_path_factory.mktemp("people"))
    shape: dict[str, Any] = {"dim": 128, "ffn_dim": 256, "num_layers": BLOCKS, "num_heads": 1}
    for seed, name, channels in ((1, "low", 16), (2, "i2v", 36), (3, "i2v_low", 36)):
        torch.manual_seed(seed)
        state = WanModel(WanConfig(**shape, in_dim=channels)).state_dict()
        save_weights(folder / f"{name}.safetensors", state, {"kind": "backbone", "version": 1})
    config = drawn(models(folder / "models"), people=3, clips_per_person=2, portrait_size=64, start_image=True)
    prepare_dataset(config, folder / "i2v_data")
    return folder


def two_experts(people, **changes) -> dict:
    model = {"low_noise_path": str(people / "low.safetensors"), "boundary": 0.6} | changes.pop("model", {})
    return settings_of("slot_id", people, model=model, **changes)


def image_to_video(people, **changes) -> dict:
    data = {"train": str(people / "i2v_data"), "validation": str(people / "i2v_data")}
    model = {"path": str(people / "i2v.safetensors")} | changes.pop("model", {})
    return settings_of("slot_id", people, data=data, model=model, **changes)


def both(people, **changes) -> dict:
    model = {"low_noise_path": str(people / "i2v_low.safetensors"), "boundary": 0.6}
    return image_to_video(people, model=model, **changes)


@pytest.mark.parametrize("kind", [two_experts, image_to_video, both])
def test_twenty_steps_and_a_resumed_run_are_the_same_to_the_bit(people, tmp_path, kind):
    """With validation and a sheet of samples on the way, which use other experts than the steps around them."""
    run = {
        "steps": 20, "batch": 2, "micro_batch": 1, "save_every": 10, "validate_every": 5, "sample_every": 20,
        "validation_samples": 4,
    }  # fmt: skip
    train(config_from_settings(kind(people, run=run)), tmp_path / "run")
    whole, first = losses(tmp_path / "run"), read_tensors(tmp_path / "run" / "adapter.safetensors")[0]
    assert sorted(whole) == list(range(20)) and (tmp_path / "run" / "samples_00000020.png").is_file()
    checkpoints(tmp_path / "run")[0].unlink()
    (tmp_path / "run" / "adapter.safetensors").unlink()
    train(config_from_settings(kind(people, run=run)), tmp_path / "run", resume=True)
    again = read_tensors(tmp_path / "run" / "adapter.safetensors")[0]
    assert losses(tmp_path / "run") == whole and all(torch.equal(first[name], again[name]) for name in first)


def trainer_of(values: dict, folder) -> Trainer:
    return Trainer(config_from_settings(values), folder, start_processes())


@pytest.mark.parametrize("dtype", ["float32", "float8_e4m3fn"])
@pytest.mark.parametrize("swapped", [0, 2])
def test_a_step_is_that_of_its_expert_alone(people, tmp_path, dtype, swapped):
    kind = {"dtype": dtype, "activation_checkpointing": True}
    together = trainer_of(two_experts(people, model=kind | {"swapped_blocks": swapped}), tmp_path)
    one = {"model": kind | {"low_noise_path": ""}}
    other = {"model": kind | {"path": str(people / "low.safetensors"), "low_noise_path": ""}}
    alone = [trainer_of(two_experts(people, **changes), tmp_path) for changes in (one, other)]
    experts = present(together.experts)
    for expert in (HIGH, LOW, LOW, HIGH):
        batch = together.batches.rows(0, range(2))
        experts.use(expert)
        with torch.no_grad(), together.autocast():
            assert torch.equal(together.strategy(batch), alone[expert].strategy(batch))
    moved = experts.bytes_moved
    experts.use(experts.active)
    assert moved == experts.bytes_moved > 0


def test_levels_are_those_of_the_steps_expert_and_all_together_as_often_as_before(people, tmp_path):
    plain = NoiseLevels(3.0, 4, 0)
    experts = NoiseLevels(3.0, 4, 0, boundary=0.875, expert_steps=2)
    rng = np.random.default_rng(0)
    drawn_levels = []
    for step in range(2000):
        levels = [experts.draw(step, row, rng.random()) for row in range(4)]
        assert {experts.expert_of(level) for level in levels} == {experts.expert(step)}
        assert experts.expert(step) == experts.expert(step // 2 * 2)
        drawn_levels += levels
    expected = sorted(plain.draw(0, 0, (place + 0.5) / 8000) for place in range(8000))
    assert np.abs(np.sort(drawn_levels) - expected).max() < 0.05
    assert unshifted(shifted(0.3, 5.0), 5.0) == pytest.approx(0.3)


def test_stratified_rows_have_a_share_each(people, tmp_path):
    levels, rng = NoiseLevels(1.0, 8, 3, stratified=True), np.random.default_rng(0)
    orders = set()
    for step in range(20):
        places = [int(8 * levels.draw(step, row, rng.random())) for row in range(8)]
        assert sorted(places) == list(range(8))
        orders.add(tuple(places))
    assert len(orders) == 20
    values = settings_of("slot_id", people, objective={"stratified": True}, run={"batch": 4})
    step = one_size(trainer_of(values, tmp_path).batches.rows(0, range(4)))
    assert sorted((4 * step.noise_level).int().tolist()) == [0, 1, 2, 3]


def test_an_image_to_video_model_is_given_the_first_frame(people, tmp_path):
    trainer = trainer_of(image_to_video(people), tmp_path)
    batch = one_size(trainer.batches.rows(0, range(2)))
    assert batch.model_input.shape[1] == 36 and batch.velocity.shape[1] == 16
    mask, latents = present(batch.start).split([4, 16], dim=1)
    assert mask[:, :, 0].min() == 1 and not mask[:, :, 1:].any()
    assert torch.allclose(latents[:, :, 0], batch.video[:, :, 0], atol=2e-3), "the first frame is encoded by itself"
    assert not torch.allclose(latents[:, :, 1:], batch.video[:, :, 1:], atol=2e-3)
    data = CachedDataset(people / "data")
    assert "start_image" not in data.read(0)
    with pytest.raises(SlotIDError, match="start_image"):
        trainer_of(image_to_video(people) | {"data": {"train": str(people / "data")}}, tmp_path).batches.rows(
            0, range(1)
        )


def test_lynx_says_what_image_to_video_lacks(people, tmp_path):
    """Its Ref layers read what a model sees of one picture; in ComfyUI that is a text-to-video model too."""
    values = image_to_video(people) | {"system": "lynx", "adapter": ADAPTERS["lynx"]}
    with pytest.raises(SlotIDError, match=r"adapter\.has_ref to false"):
        trainer_of(values, tmp_path)


def test_experts_of_other_sizes_are_refused(people, tmp_path):
    torch.manual_seed(0)
    state = WanModel(WanConfig(dim=128, ffn_dim=512, num_layers=BLOCKS, num_heads=1)).state_dict()
    save_weights(tmp_path / "wide.safetensors", state, {"kind": "backbone", "version": 1})
    for swapped in (0, 1):
        model = {"low_noise_path": str(tmp_path / "wide.safetensors"), "activation_checkpointing": True}
        with pytest.raises(SlotIDError, match="Give both files of one Wan"):
            trainer_of(two_experts(people, model=model | {"swapped_blocks": swapped}), tmp_path / "run")
    with pytest.raises(SlotIDError, match="0.875"):
        config_from_settings(two_experts(people, model={"boundary": 0.0}))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_two_processes_match_one(people, tmp_path, how):
    run = {"steps": 20, "batch": 4, "micro_batch": 2, "validate_every": 10, "distribution": how}
    values = both(people, run=run)
    train(config_from_settings(values), tmp_path / "one")
    done = start(command(write_settings(tmp_path / "run.json", values), tmp_path / "two", processes=2))
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert one.keys() == two.keys() and all(two[step] == pytest.approx(one[step], abs=1e-4) for step in one)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_swapped_blocks_and_two_processes_match_one(people, tmp_path, how):
    """With "fsdp" each process keeps half of every swapped block."""
    model = {"activation_checkpointing": True}
    run = {"steps": 10, "batch": 4, "micro_batch": 2, "validate_every": 5}
    train(config_from_settings(two_experts(people, model=model, run=run)), tmp_path / "one")
    values = two_experts(people, model=model | {"swapped_blocks": 3}, run=run | {"distribution": how})
    done = start(command(write_settings(tmp_path / "run.json", values), tmp_path / "two", processes=2))
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert one.keys() == two.keys() and all(two[step] == pytest.approx(one[step], abs=1e-4) for step in one)
