"""Two people in one toy-world frame: how the frame is composed, what is counted, and that the commands run."""

import json

import numpy as np
import pytest
import torch

from slotid_core.evaluation.__main__ import main
from slotid_core.evaluation.pairs import halves_apart, pair_figures
from slotid_core.toy_world.family import has_part
from slotid_core.wan.guidance import Predict


def painted(value: float) -> Predict:
    def predict(noisy, noise_level, context, strength):
        return torch.full_like(noisy, value)

    return predict


def test_halves_are_frames_of_their_own_until_the_frame_is_one():
    noisy = torch.zeros(1, 16, 2, 8, 16)
    composed = halves_apart([painted(1.0), painted(2.0)], painted(7.0), until=0.6)
    high, low = (composed(noisy, torch.tensor([level]), torch.zeros(1, 1, 1), torch.ones(1)) for level in (0.9, 0.5))
    assert (high[..., :8] == 1).all() and (high[..., 8:] == 2).all() and (low == 7).all()


def test_what_is_counted_of_pairs():
    """Sides × people; the second pair has its people in each other's halves."""
    two = np.array([[[0.8, 0.1], [0.2, 0.7]], [[0.1, 0.9], [0.6, 0.3]]])
    alone, left = np.array([[0.9, 0.8], [0.5, 0.5]]), np.array([[[0.8, 0], [0.25, 0]], [[0.8, 0], [0.05, 0]]])
    figures = pair_figures(alone, two, left)
    assert figures["told_apart"].tolist() == [[1, 1], [0, 0]]
    assert np.allclose(figures["loss"], [[0.1, 0.1], [0.4, 0.2]])
    assert np.allclose(figures["other"], [[0.1, 0.2], [0.9, 0.6]])
    assert np.allclose(figures["bleed"], [0.25, 0.05])


@pytest.mark.skipif(not has_part("dit") or not has_part("adapter"), reason="the toy world is not trained")
def test_the_commands_give_figures_and_a_sheet(tmp_path):
    sheet, figures = tmp_path / "pairs.png", tmp_path / "pairs.json"
    main(["pairs", "--pairs", "1", "--steps", "2", "--sheet", str(sheet), "--json", str(figures)])
    read = json.loads(figures.read_text())
    assert sheet.stat().st_size > 1000
    for name in ("similarity", "other", "told_apart", "loss", "bleed", "lora", "alone"):
        assert np.isfinite(read[f"slot_id.two.{name}"]), name
    assert read["slot_id.two.loss"] == pytest.approx(
        read["slot_id.two.alone"] - read["slot_id.two.similarity"], abs=1e-6
    )
    main(["mixing", "--identities", "2", "--steps", "1", "--json", str(figures)])
    read = json.loads(figures.read_text())
    mean = (read["slot_id.merge.first"] + read["slot_id.merge.second"]) / 2
    assert read["slot_id.merge.gain"] == pytest.approx(read["slot_id.merge.merged"] - mean, abs=1e-6)
    assert 0 <= read["slot_id.mix.steps"] <= 1
    assert read["slot_id.mix.0.first"] == pytest.approx(read["slot_id.merge.first"], abs=1e-6)
