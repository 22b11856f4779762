"""The face in the decoded estimate, as an objective of every system; what it computes is in `test_st_drc_faces.py`."""

from pathlib import Path
from typing import Any

import pytest
import torch
from every_system import make_people, settings_of

from slotid_core.errors import SlotIDError
from slotid_core.systems.registry import SYSTEMS, objective_settings_of
from slotid_core.training.config import config_from_settings
from slotid_core.training.dry_run import estimate
from slotid_core.training.loop import Trainer
from slotid_core.training.processes import start_processes

ON = {"face_weight": 2.0, "face_below": 1.0}


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    return make_people(tmp_path_factory.mktemp("people"))


def values_of(folder: Path, system: str, own: dict, **changes: Any) -> dict:
    objective = {"identity_dropout": 0.0, "joint_dropout": 0.0, "own": own}
    return settings_of(system, folder, objective=objective, run={"steps": 2, "batch": 2, "micro_batch": 2}, **changes)


def trainer(folder: Path, system: str, output: Path, own: dict) -> Any:  # a strategy has more than its protocol
    return Trainer(config_from_settings(values_of(folder, system, own)), output, start_processes())


@pytest.mark.parametrize("system", list(SYSTEMS))
def test_every_system_adds_it_in_training_alone(people, system, tmp_path):
    plain, guided = trainer(people, system, tmp_path / "a", {}), trainer(people, system, tmp_path / "b", ON)
    batch, again = plain.batches.rows(0, range(2)), guided.batches.rows(0, range(2))
    assert "face_places" not in batch.conditions and again.conditions["face_places"].shape[2:] == (2, 3)
    losses = []
    for which, rows in ((plain, batch), (guided, again)):
        which.strategy.at_step(0)
        torch.manual_seed(0)
        losses.append(which.model.train()(rows))
    assert (losses[1] > losses[0]).all(), "no face is the person's yet"
    with torch.no_grad():
        torch.manual_seed(0)
        before = plain.model.eval()(batch)
        torch.manual_seed(0)
        assert torch.equal(before, guided.model.eval()(again))
    figures, _ = guided.step(0, again, stopping=False)
    assert figures["gradient_norm"] > 0


@pytest.mark.parametrize("system", list(SYSTEMS))
def test_its_gradient_alone_reaches_what_is_trained(people, system, tmp_path):
    """The loss without it, taken away: what is left moves the velocity, and by it the adapter."""
    guided = trainer(people, system, tmp_path, ON)
    batch = guided.batches.rows(0, range(2))
    gradients = []
    for weight in (0.0, 2.0):
        object.__setattr__(guided.strategy.faces.settings, "face_weight", weight)
        guided.strategy.at_step(0)
        torch.manual_seed(0)
        loss = guided.model.train()(batch).sum()
        given = torch.autograd.grad(loss, list(guided.trainable.values()), allow_unused=True)
        gradients.append([g for g in given if g is not None])
    assert any((one - other).abs().max() > 0 for one, other in zip(*gradients, strict=True))


@pytest.mark.parametrize("system", list(SYSTEMS))
def test_it_is_off_by_default_its_settings_are_checked_and_the_dry_run_counts_the_decoder(people, system):
    assert objective_settings_of(system)().face_weight == 0
    with pytest.raises(SlotIDError, match="face_below must lie between"):
        objective_settings_of(system)(face_below=1.5)
    off, on = (
        estimate(config_from_settings(values_of(people, system, own)), gpus=1)["other_networks_gib_a_gpu"]
        for own in ({}, ON)
    )
    assert on > off
