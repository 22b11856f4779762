"""Optimisers of libraries: they learn, a run that is killed goes on to the bit, and what they cannot do is refused.

The libraries are extras: tests of one that is not installed are left out.
"""

import sys
from dataclasses import replace

import pytest
import torch
from training_settings import make_world, settings

from slotid_core.errors import SlotIDError
from slotid_core.training import loop
from slotid_core.training.checkpoint import save_checkpoint
from slotid_core.training.config import OptimizerConfig, TrainingConfig, config_from_settings, read_config
from slotid_core.training.dry_run import cost_of_options, estimate
from slotid_core.training.loop import Trainer
from slotid_core.training.optimizer import learning_rate
from slotid_core.training.optimizer_kinds import PACKAGES, averaged, build, check_kind
from slotid_core.training.processes import start_processes

KINDS = ("adamw", *PACKAGES)


def needs(kind: str) -> None:
    if kind in PACKAGES:
        pytest.importorskip(PACKAGES[kind])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    torch.set_num_threads(1)
    return make_world(tmp_path_factory.mktemp("world"))


def config_of(world, kind="adamw", **model) -> TrainingConfig:
    run = {"steps": 6, "batch": 2, "micro_batch": 2, "ema_decay": 0.0 if kind == "schedule_free" else 0.9}
    changes = {"optimizer": {"kind": kind, "learning_rate": 3e-3, "warmup_steps": 2}, "run": run, "model": model}
    return config_from_settings(settings(world, **changes))


def take(trainer: Trainer, steps: range) -> list[float]:
    return [trainer.step(step, trainer.batches.rows(step, range(2)), False)[0]["loss"] for step in steps]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_to_the_bit(world, kind, tmp_path):
    needs(kind)
    config, processes = config_of(world, kind), start_processes()
    whole = Trainer(config, tmp_path / "whole", processes)
    losses = take(whole, range(3))
    with whole.ema_weights():
        pass  # what is validated in between changes nothing
    losses += take(whole, range(3, 6))
    first = Trainer(config, tmp_path / "parts", processes)
    take(first, range(3))
    save_checkpoint(tmp_path / "parts", 3, first.state(), first.facts, 3)
    second = Trainer(config, tmp_path / "parts", processes)
    assert second.restore() == 3
    assert take(second, range(3, 6)) == losses[3:]
    ours, theirs = whole.state(), second.state()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any(float(p.detach().abs().max()) > 0 for name, p in whole.trainable.items() if "lora_B" in name)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_finds_the_least_of_a_bowl(kind):
    needs(kind)
    torch.manual_seed(0)
    goal, weight = torch.randn(96, 64), torch.nn.Parameter(torch.zeros(96, 64))
    optimizer = build(kind, [{"params": [weight], "weight_decay": 0.0}], 0.05, (0.9, 0.99))
    for _ in range(150):
        optimizer.zero_grad()
        (weight - goal).square().sum().backward()
        optimizer.step()
    with averaged(optimizer, {"weight": weight}):
        assert (weight - goal).square().mean() < 0.02 * goal.square().mean()


def test_schedule_free_is_used_as_its_average_and_trains_on_from_where_it_was():
    needs("schedule_free")
    weight = torch.nn.Parameter(torch.randn(8, 8))
    optimizer = build("schedule_free", [{"params": [weight], "weight_decay": 0.0}], 0.1, (0.9, 0.99))
    for _ in range(4):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    before = weight.detach().clone()
    with averaged(optimizer, {"weight": weight}):
        assert not torch.equal(weight, before)
    assert torch.equal(weight, before) and optimizer.param_groups[0]["train_mode"]


def test_its_learning_rate_stays():
    config = OptimizerConfig(kind="schedule_free", learning_rate=1e-3, warmup_steps=2)
    assert [learning_rate(config, step, 10) for step in (0, 1, 2, 9)] == [5e-4, 1e-3, 1e-3, 1e-3]


def test_what_a_kind_cannot_go_with_is_refused(world, monkeypatch):
    config = config_of(world, "schedule_free")
    with pytest.raises(SlotIDError, match="run.ema_decay to 0"):
        check_kind(replace(config, run=replace(config.run, ema_decay=0.9)), 1)
    eight = config_of(world, "adamw_8bit")
    with pytest.raises(SlotIDError, match="run.distribution to ddp"):
        check_kind(replace(eight, run=replace(eight.run, distribution="fsdp")), 2)
    for kind, package in PACKAGES.items():
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(SlotIDError, match=f"needs the package {package}.*optimizers"):
            build(kind, [{"params": [torch.nn.Parameter(torch.zeros(2, 2))]}], 1e-3, (0.9, 0.99))
    with pytest.raises(SlotIDError, match="compile"):
        config_of(world, compile=True, swapped_blocks=1, activation_checkpointing=True)


def test_a_dry_run_tells_what_eight_bits_save():
    config = read_config(loop.Path(__file__).parents[2] / "slotid_core/training/configs/wan_1_3b_24gb.yaml")
    plain = estimate(config, gpus=1)
    saved = 6 - 2 * 4 / 256  # bytes of each trained parameter
    told = cost_of_options(config, 1, "rtx_4090")
    less = told["as it is"]["memory_gib_a_gpu"] - told["optimizer.kind: adamw_8bit"]["memory_gib_a_gpu"]
    assert less == pytest.approx(plain["trainable_parameters"] * saved / 2**30)


def test_compiled_blocks_lose_what_plain_ones_lose(world, tmp_path, monkeypatch):
    """Through the compiler's graphs and gradients, and one kernel after the other: that takes seconds."""
    monkeypatch.setattr(loop, "COMPILER", "aot_eager")
    compare_compiled(world, tmp_path)


@pytest.mark.slow
def test_kernels_that_are_compiled_do_too(world, tmp_path):
    compare_compiled(world, tmp_path)


def compare_compiled(world, folder) -> None:
    for recomputes in (False, True):
        plain, compiled = (
            Trainer(config_of(world, activation_checkpointing=recomputes, compile=on), folder, start_processes())
            for on in (False, True)
        )
        assert list(plain.trainable) == list(compiled.trainable)
        assert take(compiled, range(3)) == pytest.approx(take(plain, range(3)), rel=1e-4)
        assert all(block._compiled_call_impl is not None for block in compiled.strategy.model.blocks)
