"""The plan of the study, the rules of its verdicts, and the metrics of slots: what needs no training."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typed import present

from slotid_core.evaluation.paired import Difference
from slotid_core.evaluation.studio import Studio
from slotid_core.evaluation.subjects import subjects_of
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
from studies.slot_id.claims import CLAIMS, MOVES
from studies.slot_id.command import TRAINING
from studies.slot_id.compared import Compared, of_same_seeds
from studies.slot_id.defaults import DEFAULT_ROWS, DEFAULTS
from studies.slot_id.jobs import in_order
from studies.slot_id.people import DEVELOPMENT_SEED, REPORTED_SEED, sets_of
from studies.slot_id.plan import ABLATION_ROWS, ADAPTERS, MAIN_ROWS, ROWS, TRAINING_SEEDS, TRIALS, Row
from studies.slot_id.row_files import Measured
from studies.slot_id.studio import SYSTEM, StreamStudio, StudyUsage
from studies.slot_id.verdicts import DECISIVE, Judged, gives_way, joint, judged, with_seeds

DECISIVE_BY_NAME = {name.removeprefix("dynamics."): name for name in DECISIVE}


def test_everything_is_made_once_before_anything_is_made_twice():
    order = [(job.row.name, job.seed, job.people) for job in in_order([list(MAIN_ROWS), list(ABLATION_ROWS)])]
    places = [order.index((*job, "reported")) for job in (("slots", 0), ("full", 1), ("full third", 0))]
    assert places == sorted(places)
    assert order.index(("slots", 0, "reported")) < order.index(("full", 0, "development"))
    rows = (*MAIN_ROWS, *ABLATION_ROWS)
    expected = sum(row.seeds * (2 if row in DEFAULT_ROWS else 1) for row in rows)
    assert len(order) == expected == len(set(order))


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
        assert row.usage.reference.shuffled == (ADAPTERS[present(row.adapter)].reference == "shuffled")


def test_rows_and_claims_name_what_exists():
    rows = [row.name for row in (*MAIN_ROWS, *ABLATION_ROWS, *(r for rows in TRIALS.values() for r in rows))]
    assert len(set(rows)) == len(rows)
    assert set(ROWS) == {*rows, "as shipped"}
    assert {claim.better for claim in CLAIMS} | {claim.worse for claim in CLAIMS} <= set(ROWS)
    assert all(claim.by_factor == ("dynamics" in claim.statement or "movement" in claim.statement) for claim in CLAIMS)
    assert len(MOVES) == 6


def difference(value, p, seeds=(), spread=0.1):
    change = Difference(value, value - spread, value + spread, p, seeds or (value,))
    return Compared(change, "reported", len(change.seeds), 2)


def test_verdicts():
    family = {("more",): difference(0.2, 0.001), ("less",): difference(-0.2, 0.001), ("none",): difference(0.2, 0.03),
              ("apart",): difference(0.2, 0.001, (0.5, -0.1)), ("open",): None}  # fmt: skip
    found = {key[0]: each.verdict for key, each in judged(family).items()}
    assert found == {
        "more": "held", "less": "reversed", "none": "no effect shown", "apart": "training seeds disagree",
        "open": "not run",
    }  # fmt: skip
    alone = judged({("none",): difference(0.2, 0.03)})[("none",)]
    assert alone.verdict == "held"  # what five tests do not show, one does
    assert Judged(difference(0.2, float("nan")), float("nan")).verdict == "no effect shown"


def test_a_claim_about_several_metrics_needs_each():
    assert joint(["held", "held"]) == "held" and joint(["held", "no effect shown"]) == "no effect shown"
    assert joint(["no effect shown", "reversed"]) == "reversed" and joint(["reversed", "not run"]) == "not run"
    assert joint(["held", "training seeds disagree"]) == "training seeds disagree"


def test_a_verdict_from_fewer_training_seeds_is_not_final():
    assert with_seeds("held", difference(0.2, 0.001)) == "held, 1 of 2 seeds"
    assert with_seeds("held", difference(0.2, 0.001, (0.1, 0.3))) == "held"
    assert with_seeds("not run", None) == "not run"


def test_a_default_gives_way_to_what_is_better_and_in_nothing_worse():
    same, more, less = (Judged(difference(value, p), p) for value, p in ((0.05, 1), (0.2, 0.01), (-0.2, 0.2)))
    assert less.verdict == "no effect shown" and less.worse  # harm need not be proved

    def row(**changes):
        return dict.fromkeys(DECISIVE, same) | {DECISIVE_BY_NAME[name]: change for name, change in changes.items()}

    assert gives_way([row(similarity=more)]) and gives_way([row(sway=more)])
    assert gives_way([row(), row(similarity=more)])
    assert not gives_way([row()]) and not gives_way([row(action=more)])
    assert not gives_way([row(similarity=more, action=less)]) and not gives_way([row(sway=more, talk_cadence=less)])
    assert not gives_way([row(similarity=more), row(smile_onset=less)])


def test_training_seeds_that_both_rows_have_are_compared():
    base, ours, theirs = Row("base", None), Row("a", "full", 2), Row("b", "slots", 1)
    parts: Measured = {"similarity": np.ones((1, 1))}
    found = of_same_seeds([ours, base], [{0: parts, 1: parts}, {0: parts}], "reported")
    assert found is not None and (found.seeds, found.planned, len(found.parts[1])) == ([0, 1], 2, 2)
    found = of_same_seeds([ours, theirs], [{0: parts, 1: parts}, {0: parts}], "reported")
    assert found is not None and (found.seeds, found.planned) == ([0], 1)
    assert of_same_seeds([ours, theirs], [{1: parts}, {0: parts}], "reported") is None
    assert of_same_seeds([ours, base], [{0: parts}, {}], "reported") is None


def test_what_a_claim_rests_on_is_trained_twice():
    claimed = [ROWS[name] for claim in CLAIMS for name in (claim.better, claim.worse)]
    assert {row.seeds for row in claimed if row.trained} == {TRAINING_SEEDS} == {2}
    settings = [read_config(TRAINING, [f"run.seed={seed}"]).run.seed for seed in range(2)]
    assert settings == [0, 1]
    assert {row.seeds for row in ROWS.values() if not row.trained} == {1}


def test_defaults_are_chosen_on_other_people_than_they_are_reported_on():
    sets = sets_of(4, REPORTED_SEED, DEVELOPMENT_SEED)
    people = {name: {s.seed for s in subjects_of(each.seed, 4, each.prompts)} for name, each in sets.items()}
    assert not people["reported"] & (people["development"] | people["earlier"])
    measured = {(job.row.name, job.people) for job in in_order([list(ROWS.values())])}
    assert {name for name, on in measured if on == "reported"} == set(ROWS)
    assert {name for name, on in measured if on == "development"} == {
        name for default in DEFAULTS for _, *names in default.instead for name in names
    }


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
    adapter, studio = SimpleNamespace(module=module), StreamStudio.__new__(StreamStudio)
    assert studio.person(SYSTEM, adapter, [], StudyUsage()).gate == own
    assert studio.person(SYSTEM, adapter, [], StudyUsage(gate=other)).gate == (own if missing else other)


def test_a_zeroed_stream_says_nothing_and_the_other_is_as_before(monkeypatch):
    tokens, film = torch.ones(1, 2, 8), torch.ones(1, 1, 2, 8)
    identity = Identity(tokens, tokens, film, film, model_width=8, model_depth=2, gate=GateSchedule("constant"))
    monkeypatch.setattr(Studio, "person", lambda *_: identity)
    studio = StreamStudio.__new__(StreamStudio)
    for usage, kept in ((StudyUsage(zeroed="clip"), "image"), (StudyUsage(zeroed="portrait"), "video")):
        person = studio.person(SYSTEM, SimpleNamespace(module=SimpleNamespace()), [], usage)
        for stream in ("image", "video"):
            for tensor in (getattr(person, f"{stream}_tokens"), getattr(person, f"{stream}_film")):
                assert torch.equal(tensor, torch.full_like(tensor, float(stream == kept)))
        assert person.gate == identity.gate


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
