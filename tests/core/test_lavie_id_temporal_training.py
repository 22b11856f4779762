"""Training of LaVieID's temporal module by the loop of all systems: what it learns from, and what comes out."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_settings import losses, make_world, settings, write_settings
from typed import one_size

from slotid_core.errors import SlotIDError
from slotid_core.systems.lavie_id.temporal import TemporalConfig, TemporalModule, load_temporal
from slotid_core.systems.lavie_id.temporal.sharpness import sharpness
from slotid_core.systems.lavie_id.temporal.strategy import (
    CHOICE,
    ObjectiveSettings,
    Strategy,
    drifting,
    share_left,
)
from slotid_core.training.__main__ import main
from slotid_core.training.config import config_from_settings, read_config
from slotid_core.training.dry_run import estimate
from slotid_core.training.loop import Trainer, train
from slotid_core.training.processes import start_processes

SMALL: dict[str, Any] = {"width": 32, "heads": 2, "layers": 2}
CONFIGS = Path(__file__).resolve().parents[2] / "slotid_core" / "training" / "configs"


def own(world, **changes) -> dict:
    values = settings(world, system="lavie_id_temporal", **{"run": {"steps": 6, "save_every": 3, "validate_every": 3}})
    values["adapter"] = SMALL
    for section, change in changes.items():
        values[section] = {**values.get(section, {}), **change}
    return values


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    torch.set_num_threads(1)
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    output = tmp_path_factory.mktemp("trained")
    train(config_from_settings(own(world)), output)
    return output


def trainer_of(world, folder, **changes) -> Trainer:
    return Trainer(config_from_settings(own(world, **changes)), folder, start_processes())


def strategy_of(trainer: Trainer) -> Strategy:
    assert isinstance(trainer.strategy, Strategy)
    return trainer.strategy


def test_the_file_says_the_length_of_a_chunk_and_refines_any_video(world, trained):
    module = load_temporal(trained / "adapter.safetensors")
    assert module.config.length == 1  # two latent frames of data
    assert module.project_out.weight.abs().max() > 0  # it starts at zero
    latents = torch.randn(1, 16, 9, 4, 4)
    assert not torch.equal(module.refine(latents), latents)


def test_validation_reports_error_and_sharpness_before_and_after(trained):
    rows = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    checks = [row for row in rows if "validation_loss" in row]
    names = {"validation_loss", "validation_loss_before", "validation_sharpness", "validation_sharpness_before"}
    told = [{name for name in row if name != "step" and "_at_" not in name} for row in checks]
    assert checks and all(names == found for found in told), "nobody's reference is mismatched"
    assert (trained / "loss.png").stat().st_size > 5000


def test_a_killed_run_goes_on_to_the_same_losses_and_the_same_file(world, trained, tmp_path):
    killed = shutil.copytree(trained, tmp_path / "killed")
    (killed / "step_00000006.safetensors").unlink()
    (killed / "adapter.safetensors").unlink()
    train(config_from_settings(own(world)), killed, resume=True)
    assert losses(killed) == losses(trained)
    names = [path / "adapter.safetensors" for path in (killed, trained)]
    one, other = (load_temporal(name).state_dict() for name in names)
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_only_the_module_learns_and_the_loss_falls(world, tmp_path):
    trainer = trainer_of(world, tmp_path, optimizer={"learning_rate": 1e-2, "warmup_steps": 1}, run={"steps": 100})
    before = {name: value.clone() for name, value in strategy_of(trainer).model.state_dict().items()}
    batch = one_size(trainer.batches.rows(0, range(4)))
    first, *_, last = [trainer.step(step, batch, stopping=False)[0]["loss"] for step in range(25)]
    assert last < 0.9 * first
    assert all(torch.equal(before[name], value) for name, value in strategy_of(trainer).model.state_dict().items())
    assert set(trainer.trainable) == {
        name for name, _ in strategy_of(trainer).named_parameters() if "temporal." in name
    }


def test_the_estimate_is_the_models_at_noise_between_the_bounds(world, tmp_path, monkeypatch):
    strategy = strategy_of(trainer_of(world, tmp_path, objective={"own": {"least_noise": 0.2, "most_noise": 0.4}}))
    levels = []

    def velocity(x, timestep, context, **others):
        levels.append(timestep / 1000)
        return torch.zeros_like(x)

    batch = one_size(trainer_of(world, tmp_path).batches.rows(0, range(4)))
    monkeypatch.setattr(strategy.model, "forward", velocity)
    estimate = strategy.estimate(batch)
    expected = 0.2 + 0.2 * batch.noise_level
    assert torch.allclose(levels[0], expected)
    noisy = batch.video + expected.view(-1, 1, 1, 1, 1) * (batch.noise - batch.video)
    assert torch.allclose(estimate, noisy, atol=1e-6)
    true = batch.noise - batch.video
    monkeypatch.setattr(strategy.model, "forward", lambda *inputs, **others: true)
    for steps in (1, 3):
        strategy.objective = replace(strategy.objective, estimate_steps=steps)
        assert torch.allclose(strategy.estimate(batch), batch.video, atol=1e-5), "a perfect model's estimate"


def test_taught_rows_read_the_true_chunk_before(world, tmp_path):
    """With m = 1 and two frames there is no chunk before; so longer clips are made of the batch's."""
    strategy = strategy_of(trainer_of(world, tmp_path, objective={"own": {"taught": 0.5}}))
    torch.nn.init.normal_(strategy.temporal.project_out.weight)
    batch = one_size(trainer_of(world, tmp_path).batches.rows(0, range(2)))
    batch = replace(batch, video=batch.video.repeat(1, 1, 3, 1, 1), noise=batch.noise.repeat(1, 1, 3, 1, 1))

    def loss(choices):
        chosen = {CHOICE: torch.tensor(choices).view(-1, 1)}
        return strategy(replace(batch, conditions=batch.conditions | chosen))

    own_chunks, mixed = loss([0.9, 0.9]), loss([0.9, 0.1])
    assert own_chunks[0] == mixed[0] and own_chunks[1] != mixed[1]
    strategy.eval()
    assert torch.equal(loss([0.1, 0.1]), loss([0.9, 0.9])), "validation measures it as it is used"


def test_a_drift_grows_from_nothing_and_what_is_left_of_it_is_a_share():
    ends = torch.randn(2, 16)
    drift = drifting(ends, 5)
    assert drift.shape == (2, 16, 5, 1, 1) and not drift[:, :, 0].any()
    assert torch.allclose(drift[:, :, 2, 0, 0], ends / 2) and torch.allclose(drift[:, :, 4, 0, 0], ends)
    change = drift.expand(-1, -1, -1, 4, 4)
    assert torch.allclose(share_left(change, drift), torch.ones(2))
    assert torch.allclose(share_left(0.25 * change, drift), torch.full((2,), 0.25))


def test_a_new_module_leaves_all_of_a_drift_and_training_sees_it(world, tmp_path):
    trainer = trainer_of(world, tmp_path, objective={"own": {"drift": 0.5}})
    strategy, batch = strategy_of(trainer), trainer.batches.rows(0, range(2))
    without = replace(batch, conditions=batch.conditions | {"drift": torch.zeros(2, 16)})
    assert (strategy(batch) > strategy(without) + 1e-3).all()
    strategy.eval()
    assert torch.equal(strategy(batch), strategy(without)), "the validated loss is of what does not drift"
    strategy(batch)
    assert torch.allclose(strategy.figures["drift_left"], torch.ones(2), atol=1e-4)


def test_recomputed_layers_give_the_same_gradients(world, tmp_path):
    gradients = []
    for checkpointing in (False, True):
        trainer = trainer_of(world, tmp_path, model={"activation_checkpointing": checkpointing})
        torch.nn.init.normal_(
            strategy_of(trainer).temporal.project_out.weight, generator=torch.Generator().manual_seed(0)
        )
        trainer.strategy(trainer.batches.rows(0, range(2))).sum().backward()
        gradients.append([parameter.grad for parameter in trainer.trainable.values()])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*gradients, strict=True))


def test_sharpness_is_one_for_the_truth_and_less_for_a_blur():
    truth = torch.randn(2, 16, 3, 8, 8)
    assert torch.allclose(sharpness(truth, truth), torch.ones(2))
    assert torch.allclose(sharpness(truth / 2, truth), torch.full((2,), 0.5))
    blurred = torch.nn.functional.avg_pool3d(truth, (1, 3, 3), 1, (0, 1, 1))
    assert (sharpness(blurred, truth) < 0.6).all()
    assert sharpness(truth[..., :1, :1], truth[..., :1, :1]).tolist() == [0.0, 0.0], "one place has no detail"


def test_a_run_starts_from_another_modules_weights(world, trained, tmp_path):
    first = load_temporal(trained / "adapter.safetensors")
    strategy = strategy_of(trainer_of(world, tmp_path, run={"start_from": str(trained / "adapter.safetensors")}))
    assert torch.equal(strategy.temporal.project_out.weight, first.project_out.weight)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective": {"own": {"least_noise": 0.6}}}, "least_noise"),
        ({"objective": {"own": {"least_noise": 0.0}}}, "above 0"),
        ({"objective": {"described_weight": 1.0}}, "described_weight"),
        ({"adapter": {"depth": 3}}, "depth"),
    ],
)
def test_settings_that_cannot_be_are_refused(world, tmp_path, changes, said):
    with pytest.raises(SlotIDError, match=said):
        trainer_of(world, tmp_path, **changes)


def test_pictures_and_a_module_of_other_sizes_are_refused(world, trained, tmp_path):
    with pytest.raises(SlotIDError, match="no time to refine"):
        Strategy.settings_for_data({}, {"frames": 1}, tmp_path)
    with pytest.raises(SlotIDError, match="layers 2"):
        trainer_of(world, tmp_path, adapter={"layers": 3}, run={"start_from": str(trained / "adapter.safetensors")})


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*lavie_id_temporal.yaml")), ids=lambda path: path.stem)
def test_recipes_are_read(path):
    config = read_config(path)
    assert isinstance(config.own_objective(), ObjectiveSettings)


def test_a_run_is_counted_before_it_starts(world):
    figures = estimate(config_from_settings(own(world)), gpus=1)
    assert figures["trainable_parameters"] == sum(
        p.numel() for p in TemporalModule(TemporalConfig(**SMALL)).parameters()
    )


def test_the_command(world, tmp_path):
    config = write_settings(tmp_path / "settings.json", own(world, run={"steps": 2}))
    assert main(["--config", str(config), "--output", str(tmp_path / "out")]) == 0
    assert load_temporal(tmp_path / "out" / "adapter.safetensors").config.width == 32
