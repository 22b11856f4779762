"""The plan of the study, the rules of its verdicts, and the metrics of slots: what needs no training."""

from types import SimpleNamespace

import pytest
import torch

from slotid_core.evaluation.studio import Studio
from slotid_core.evaluation.usage import Usage
from slotid_core.systems.slot_id import (
    AdapterConfig,
    GateSchedule,
    Identity,
    IdentityStream,
    SlotIDAdapter,
    TemporalEncoderConfig,
    TemporalIdentityEncoder,
    load_adapter,
)
from slotid_core.systems.slot_id.strategy import adapter_config
from slotid_core.toy_world.family import part_path
from slotid_core.training.config import read_config
from slotid_core.wan import WanConfig, WanModel
from studies.slot_id import slot_behaviour
from studies.slot_id.command import TRAINING, in_order
from studies.slot_id.figures import SMALLEST_EFFECT, gives_way, joint, verdict
from studies.slot_id.plan import ABLATION_ROWS, ADAPTERS, CLAIMS, DEFAULTS, MAIN_ROWS, TRIALS
from studies.slot_id.studio import SYSTEM, GateStudio, StudyUsage


def test_everything_is_made_once_before_anything_is_made_twice():
    order = [(row.name, seed) for row, seed in in_order([list(MAIN_ROWS), list(ABLATION_ROWS)])]
    assert order.index(("slots", 0)) < order.index(("full", 1)) < order.index(("full third", 0))
    assert len(order) == sum(row.seeds for row in (*MAIN_ROWS, *ABLATION_ROWS)) == len(set(order))


def test_every_adapter_of_the_plan_can_be_built():
    backbone = WanModel(WanConfig(dim=128, ffn_dim=128, num_layers=2, num_heads=1))
    built = {}
    for name, adapter in ADAPTERS.items():
        settings = read_config(TRAINING, list(adapter.changes))
        config = SlotIDAdapter(adapter_config(settings.adapter, backbone)).config
        built[name] = repr((config, settings.objective, adapter.budget, adapter.reference))
    assert len(set(built.values())) == len(built)  # each changes something, and something else


def test_an_adapter_trained_on_shuffled_frames_is_tested_with_shuffled_frames():
    for row in ABLATION_ROWS:
        assert row.usage.reference.shuffled == (ADAPTERS[row.adapter].reference == "shuffled")


def test_rows_and_claims_name_what_exists():
    rows = [row.name for row in (*MAIN_ROWS, *ABLATION_ROWS, *(r for rows in TRIALS.values() for r in rows))]
    assert len(set(rows)) == len(rows)
    assert {claim.better for claim in CLAIMS} | {claim.worse for claim in CLAIMS} <= {*rows, "as shipped"}


def test_verdicts():
    assert verdict((0.01, 0.2)) == "held"
    assert verdict((-0.2, SMALLEST_EFFECT / 2)) == "not held"
    assert verdict((-0.2, 0.2)) == "undecided"
    assert verdict(None) == verdict((float("nan"), float("nan"))) == "not run"
    assert joint(["held", "held"]) == "held" and joint(["held", "undecided"]) == "undecided"
    assert joint(["undecided", "not held"]) == "not held" and joint(["not held", "not run"]) == "not run"


def test_a_default_gives_way_to_what_is_better_and_in_nothing_worse():
    same, more, less = (-0.1, 0.1), (0.01, 0.2), (-0.2, -0.01)

    def differences(similarity=same, dynamics=same, action=same):
        return {"similarity": similarity, "dynamics": dynamics, "action": action}

    assert gives_way([differences(similarity=more)]) and gives_way([differences(dynamics=more)])
    assert gives_way([differences(), differences(similarity=more)])
    assert not gives_way([differences()]) and not gives_way([differences(action=more)])
    assert not gives_way([differences(similarity=more, action=less)])
    assert not gives_way([differences(similarity=more), differences(dynamics=less)])


def test_defaults_of_the_study_are_those_of_the_pack():
    settings = read_config(TRAINING)
    adapter, objective = {"encoder": {}, "gate": {}} | settings.adapter, settings.objective
    encoder = TemporalEncoderConfig(16, **adapter["encoder"])
    shipped = load_adapter(part_path("adapter")).config.gate
    defaults = {
        "routing": encoder.reader.routing,
        "plan_normalization": encoder.reader.plan_normalization,
        "gate_mode": AdapterConfig.gate_mode,
        "gate family, in training": GateSchedule(**adapter["gate"]).family,
        "gate of the adapter that ships": f"{shipped.family} {shipped.high:g}",
        "temporal_differences": str(encoder.temporal_differences).lower(),
        "movement_weight, change_weight": f"{settings.own_objective().movement_weight:g}, {objective.change_weight:g}",
        "identity_scale, text_scale": f"{Usage().identity_scale:g}, {Usage().text_scale:g}",
    }
    assert defaults == {default.setting: default.value for default in DEFAULTS}


@pytest.mark.parametrize("missing", ("", "encoder", "anchor"))
def test_the_gate_of_a_usage_needs_both_streams(missing, monkeypatch):
    own, other = GateSchedule("constant"), GateSchedule("linear")
    tokens, film = torch.zeros(1, 2, 8), torch.zeros(1, 0, 2, 8)
    identity = Identity(tokens, tokens, film, film, model_width=8, model_depth=2, gate=own)
    monkeypatch.setattr(Studio, "person", lambda *_: identity)
    module = SimpleNamespace(encoder=missing != "encoder" or None, anchor=missing != "anchor" or None)
    adapter, studio = SimpleNamespace(module=module), GateStudio.__new__(GateStudio)
    assert studio.person(SYSTEM, adapter, [], StudyUsage()).gate == own
    assert studio.person(SYSTEM, adapter, [], StudyUsage(gate=other)).gate == (own if missing else other)


def test_slots_that_share_nothing_and_slots_that_share_all():
    def behaviour(assignment, tokens):
        stream = IdentityStream(tokens, torch.zeros(1, 4), assignment)
        return {
            k: v.item()
            for k, v in slot_behaviour.behaviour(lambda latents: stream, torch.zeros(1, 16, 1, 2, 2)).items()
        }

    turns = torch.zeros(1, 2, 3, 2, 2)
    turns[:, 0, ::2], turns[:, 1, 1::2] = 1, 1  # every patch goes to the other slot in each frame
    assert behaviour(turns, torch.eye(2)[None]) == pytest.approx({"entropy": 0, "cosine": 0, "change": 1})
    even = torch.full((1, 2, 3, 2, 2), 0.5)
    assert behaviour(even, torch.ones(1, 2, 2)) == pytest.approx({"entropy": 1, "cosine": 1, "change": 0})
    one = slot_behaviour.behaviour(
        TemporalIdentityEncoder(TemporalEncoderConfig(16, width=32, num_heads=2)), torch.randn(2, 16, 3, 4, 4)
    )
    assert all(values.shape == (2,) and (values >= -1).all() and (values <= 1).all() for values in one.values())
