"""What a step sees: the same for any number of processes, every sample once an epoch, dropped as often as asked."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proof import examples
from typed import one_size

from slotid_core.errors import SlotIDError
from slotid_core.systems.contract import CORE_FIELDS, SharedObjective
from slotid_core.systems.slot_id.strategy import ObjectiveSettings
from slotid_core.training.batches import Batches
from slotid_core.training.config import Pairing
from slotid_core.training.mix import Mix
from slotid_core.wan.text_encoder import pad_text


class People:
    """Samples whose tensors hold their own number."""

    def __init__(self, count: int):
        self.samples = tuple(SimpleNamespace(index=i) for i in range(count))

    def read(self, index, names=None):
        full = {
            "video": torch.full((16, 2, 2, 2), float(index)),
            "reference": torch.full((16, 2, 2, 2), float(index)),
            "portrait": torch.full((16, 1, 2, 2), float(index)),
            "text": torch.full((1 + index % 3, 8), 1.0 + index),
            "empty_text": torch.full((1, 8), -1.0),
        }
        return {name: full[name] for name in names or full}

    def partner(self, index, rng, same_clip):
        return index if same_clip else (index + 1) % len(self.samples)


def batches(count=10, batch=4, seed=0, pairing: Pairing = "other clip", **objective) -> Batches:
    return Batches(
        People(count), SharedObjective(**objective), pairing, batch, seed, required_tensors=("reference", "portrait"),
        text_rows=8, draw=lambda generator: {"drawn": torch.rand(8, generator=generator)},
    )  # fmt: skip


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(0, 1000), st.integers(1, 3), st.integers(0, 5))
def test_rows_do_not_depend_on_who_asks(step, processes, seed):
    source = batches(batch=6, seed=seed)
    together = source.rows(step, range(6))
    each = 6 // processes
    for rank in range(processes):
        rows = range(rank * each, (rank + 1) * each)
        alone = batches(batch=6, seed=seed).rows(step, rows)
        for name in (*CORE_FIELDS, *together.conditions):
            part, whole = (getattr(b, name) if name in CORE_FIELDS else b.conditions[name] for b in (alone, together))
            ours, theirs = part, whole[rows.start : rows.stop]
            if name == "context":  # padded to the longest prompt of its own rows
                length = min(ours.shape[1], theirs.shape[1])
                assert not ours[:, length:].any() and not theirs[:, length:].any()
                ours, theirs = ours[:, :length], theirs[:, :length]
            assert torch.equal(ours, theirs), name


def test_an_epoch_visits_every_sample_once():
    source = batches(count=12, batch=4)
    for epoch in range(3):
        seen = torch.cat([one_size(source.rows(3 * epoch + step, range(4))).video[:, 0, 0, 0, 0] for step in range(3)])
        assert sorted(seen.tolist()) == list(range(12))


def test_folders_with_weights_come_as_often_as_asked():
    class Folders(People):
        lengths = (3, 40)

    source = Batches(
        Folders(43), SharedObjective(), "other clip", 4, 0, required_tensors=("reference",), text_rows=8,
        draw=lambda generator: {}, mix=Mix(weights=(3.0, 1.0)),
    )  # fmt: skip
    seen = [int(video[0, 0, 0, 0]) for step in range(256) for video in one_size(source.rows(step, range(4))).video]
    assert sum(index < 3 for index in seen) == 768 and set(seen) == set(range(43))


def test_reference_and_portrait_come_from_the_partner():
    apart, together = (one_size(batches(pairing=how).rows(0, range(4))) for how in ("other clip", "same clip"))
    reference, portrait = (apart.conditions[name][:, 0, 0, 0, 0] for name in ("reference", "portrait"))
    assert torch.equal(reference, (apart.video[:, 0, 0, 0, 0] + 1) % 10)
    assert torch.equal(reference, portrait)
    assert torch.equal(together.conditions["reference"][:, 0, 0, 0, 0], together.video[:, 0, 0, 0, 0])


def test_dropouts_happen_as_often_as_asked_and_apart():
    source = batches(count=4000, batch=4000, text_dropout=0.2, identity_dropout=0.1, joint_dropout=0.05)
    batch = source.rows(0, range(4000))
    no_text, no_identity = batch.context[:, 0, 0] == -1, batch.has_identity == 0
    shares = [(no_text & ~no_identity), (no_identity & ~no_text), (no_text & no_identity)]
    for share, wanted in zip(shares, (0.2, 0.1, 0.05), strict=True):
        assert share.float().mean().item() == pytest.approx(wanted, abs=0.03)
    drawn = batch.conditions["drawn"]
    assert drawn.shape == (4000, 8) and drawn.mean().item() == pytest.approx(0.5, abs=0.02)


@given(st.floats(1, 12))
@settings(max_examples=examples(10), deadline=None)
def test_noise_levels_follow_the_shift(shift):
    levels = batches(count=500, batch=500, timestep_shift=shift).rows(0, range(500)).noise_level.double()
    uniform = levels / (shift - (shift - 1) * levels)  # the shift undone
    assert np.abs(np.sort(uniform) - (np.arange(500) + 0.5) / 500).max() < 0.1


def test_text_is_padded_by_at_least_one_row():
    context = pad_text([torch.ones(3, 8), torch.ones(5, 8)])
    assert context.shape == (2, 6, 8) and not context[:, -1].any() and context[0, :3].all()
    longest = pad_text([torch.ones(512, 8)], room=8)
    assert longest.shape == (1, 504, 8) and not longest[:, -1].any(), "8 identity tokens must still fit in 512 rows"


@pytest.mark.parametrize(
    ("settings_class", "wrong"),
    [(SharedObjective, {"text_dropout": 0.9, "identity_dropout": 0.2}), (ObjectiveSettings, {"token_dropout": 1.0})],
)
def test_impossible_shares_are_refused(settings_class, wrong):
    with pytest.raises(SlotIDError):
        settings_class(**wrong)


def test_temperature_falls_and_then_stays():
    objective = ObjectiveSettings(temperature_start=1.0, temperature_end=0.2, temperature_steps=0.5)
    values = [objective.temperature(step, 100) for step in range(101)]
    assert values[0] == 1.0 and values[25] == pytest.approx(0.6) and values[50:] == pytest.approx([0.2] * 51)
