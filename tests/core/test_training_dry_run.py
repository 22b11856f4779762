"""What a dry run says: counts of the published models, memory near what a real step keeps, and nothing trained."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_settings import command, make_world, run, settings, write_settings

from slotid_core.config import config_from_dict
from slotid_core.systems.slot_id.inference import predict_velocity
from slotid_core.training.config import TrainingConfig, read_config
from slotid_core.training.dry_run import VECTORS_OF_A_BLOCK, activation_bytes, estimate
from slotid_core.wan import WanConfig, WanModel

CONFIGS = Path(__file__).parents[2] / "slotid_core" / "training" / "configs"


@pytest.mark.parametrize(
    ("name", "frozen", "limit"),
    [
        ("wan_14b_8x80gb", 14_288_491_584, 80), ("wan_1_3b_24gb", 1_418_996_800, 24),
        ("wan_14b_8x80gb_st_drc", 14_288_491_584, 80), ("wan_1_3b_24gb_st_drc", 1_418_996_800, 24),
    ],
)  # fmt: skip
def test_presets_count_the_published_models_and_fit(name, frozen, limit):
    config = read_config(CONFIGS / f"{name}.yaml")
    figures = estimate(config, gpus=8 if config.run.distribution == "fsdp" else 1)
    assert figures["frozen_parameters"] == frozen
    assert 20e6 < figures["trainable_parameters"] < 0.05 * frozen
    assert figures["memory_gib_a_gpu"] < limit
    one = estimate(config, gpus=1)
    if config.run.distribution == "fsdp":
        assert one["frozen_gib_a_gpu"] == pytest.approx(frozen * 2 / 2**30)
        assert figures["frozen_gib_a_gpu"] < one["frozen_gib_a_gpu"] / 4


def test_a_system_that_appends_tokens_counts_them():
    video, longer = (
        estimate(read_config(CONFIGS / f"wan_1_3b_24gb{name}.yaml"), gpus=1)["video_tokens_a_gpu"]
        for name in ("", "_st_drc")
    )
    assert video == 17 * 30 * 45 and longer == 18 * 30 * 45


@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_estimated_within_a_factor_of_1_5(checkpointing):
    torch.manual_seed(0)
    model = WanModel(WanConfig(dim=256, ffn_dim=512, num_layers=4, num_heads=2)).requires_grad_(False)
    model.activation_checkpointing = checkpointing
    kept, weights = {}, {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    noisy = torch.randn(2, 16, 5, 16, 16, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = predict_velocity(model, noisy, torch.tensor([0.5, 0.5]), torch.zeros(2, 3, 4096))
    assert out.requires_grad
    config = config_from_dict(
        TrainingConfig,
        {
            "data": {"train": "none"},
            "model": {"path": "none", "compute_dtype": "float32", "activation_checkpointing": checkpointing},
            "run": {"steps": 1},
        },
    )
    tokens = 2 * 5 * 8 * 8
    estimated = activation_bytes(model, config, tokens)
    if checkpointing:  # one block at a time is computed again in the backward pass, and is not among what is kept now
        estimated -= tokens * 4 * (VECTORS_OF_A_BLOCK * 256 + 2 * 512)
    assert 1 / 1.5 < sum(kept.values()) / estimated < 1.5


def test_a_dry_run_times_steps_and_writes_nothing(tmp_path):
    world = make_world(tmp_path / "world")
    config = write_settings(tmp_path / "config.json", settings(world))
    result = run(command(config, tmp_path / "run", "--dry-run", "--json", str(tmp_path / "figures.json")))
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["samples"] == 8 and figures["people"] == 4 and figures["epochs"] == 10
    assert figures["seconds_a_step"] > 0 and figures["hours"] == pytest.approx(figures["seconds_a_step"] * 20 / 3600)
    assert not (tmp_path / "run").exists()


def test_a_missing_model_without_a_shape_is_refused():
    config = read_config(CONFIGS / "wan_1_3b_24gb.yaml")
    with pytest.raises(Exception, match="model.shape"):
        estimate(replace(config, model=replace(config.model, shape="")), gpus=1)
