"""The study: each piece made once, differences paired, and a page in which no number is typed."""

import copy
import json
import re
import shutil

import numpy as np
import pytest
from dataset_settings import drawn
from toy_family import ship_random_family
from training_settings import make_world, write_settings
from training_settings import settings as training_settings

from slotid_core.config import config_to_dict
from slotid_core.errors import SlotIDError
from slotid_core.evaluation import intervals
from slotid_core.evaluation.usage import Usage
from slotid_core.systems.slot_id import (
    AdapterConfig,
    GateSchedule,
    TemporalEncoderConfig,
    TemporalIdentityEncoder,
    load_adapter,
)
from slotid_core.toy_world.family import part_path
from slotid_core.training.config import read_config
from slotid_core.weights import read_header
from studies.slot_id.command import TRAINING, in_order, main
from studies.slot_id.figures import WORTH, gives_way, joint, verdict
from studies.slot_id.page import page
from studies.slot_id.plan import ABLATION_ROWS, ADAPTERS, CLAIMS, DEFAULTS, MAIN_ROWS, TRIALS
from studies.slot_id.published import with_published
from studies.slot_id.row_files import KIND, VERSION, read_row, write_row
from studies.slot_id.runner import slug


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Everything a study of seconds needs: models, data, settings."""
    folder = tmp_path_factory.mktemp("study")
    ship_random_family(folder / "family")
    world = make_world(folder / "world")
    run = {"validate_every": 9, "save_every": 9}
    write_settings(folder / "training.json", training_settings(world, run=run))
    files = {
        "vae": str(folder / "family/vae.safetensors"),
        "text_encoder": str(folder / "family/text_encoder.safetensors"),
    }
    write_settings(folder / "data.json", config_to_dict(drawn(files, people=4, clips_per_person=1)))
    return folder


@pytest.fixture(scope="module", autouse=True)
def rough_intervals():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "RESAMPLES", 50)
        yield


PROTOCOL = ("people", "prompts", "seed", "steps", "third", "batch", "reference", "worth", "trained_on", "models")


def study(folder, *arguments: str, into=None) -> dict:
    into = into or folder
    options = [
        "--threads", "1", "--config", folder / "training.json", "--data", folder / "data.json",
        "--output", into / "output", "--page", into / "page", "--weights", folder / "family", "--people", "2",
        "--steps", "3",
    ]  # fmt: skip
    assert main([str(option) for option in (*options, *arguments)]) == 0
    return json.loads((into / "page" / "figures.json").read_text())


def files(folder):
    """Everything that was made, data apart."""
    return sorted([*(folder / "output" / "adapters").rglob("*.safetensors"), *(folder / "page" / "rows").iterdir()])


@pytest.fixture(scope="module")
def figures(folder):
    study(folder, "--parts", "main", "--rows", "base;full;ceiling")
    (trained,) = (folder / "output/adapters").glob("full-0-*/adapter.safetensors")
    shutil.copy(trained, folder / "family/adapter.safetensors")
    study(folder, "--parts", "trials", "--rows", "as shipped;shuffled")
    return study(folder, "--parts", "ablations", "--rows", "full third;movement third;movement third, frames shuffled")


def test_what_is_finished_has_figures_and_what_is_not_has_none(figures):
    for row in ("main.base", "main.full", "main.ceiling", "trial.as_shipped", "trial.shuffled", "ablation.full_third"):
        for name in ("similarity", "action", "marks"):
            if f"{row}.{name}" in figures or name != "marks":  # two people may not show a mark and none
                assert figures[f"{row}.{name}.low"] <= figures[f"{row}.{name}"] <= figures[f"{row}.{name}.high"]
    assert not any(key.startswith(("main.anchor", "ablation.no_FiLM")) for key in figures)
    shuffled = "ablation.movement_third__frames_shuffled.similarity"
    difference = figures[shuffled] - figures["ablation.movement_third.similarity"]
    assert figures[f"{shuffled}.difference"] == pytest.approx(difference)
    assert figures["claim.Sinkhorn_routing_is_better_than_softmax"] == "not run"
    assert figures["default.movement_weight__change_weight"] in ("stays", "gives way to 0, 0")
    assert figures["default.gate_mode"] == "not run"
    assert figures["protocol.steps"] == 3 and figures["protocol.third"] == 1
    assert 0 <= figures["slots.full.entropy"] <= 1 and "slots.12_slots.entropy" not in figures


def test_a_piece_is_made_once(folder, figures):
    made = files(folder)
    times = [path.stat().st_mtime_ns for path in made]
    assert study(folder, "--parts", "main", "--rows", "base;full;ceiling") == figures
    assert files(folder) == made
    assert [path.stat().st_mtime_ns for path in made] == times
    names = {path.parent.name.rsplit("-", 2)[0] for path in made if path.name == "adapter.safetensors"}
    assert names == {"full", "full_third", "movement_third", "movement_third__frames_shuffled"}
    assert (folder / "output" / "people_shuffled" / "manifest.json").is_file()
    assert not (folder / "output" / "people_same_clip").exists()  # nothing asked for a row that needs it


def test_a_row_of_which_one_seed_is_trained_counts_and_says_so(folder, figures, tmp_path):
    shutil.copytree(folder / "page" / "rows", tmp_path / "page" / "rows")
    (tmp_path / "page" / "rows" / "full-1.safetensors").unlink()
    told = study(folder, "--page-only", into=tmp_path)
    assert (told["main.full.seeds"], figures["main.full.seeds"]) == (1, 2)
    assert told["main.full.similarity"] != figures["main.full.similarity"]
    assert "| full (1 of 2 seeds) |" in (tmp_path / "page" / "README.md").read_text()
    assert "| full |" in (folder / "page" / "README.md").read_text()


def test_the_page_can_be_made_from_the_rows_alone(folder, figures, tmp_path):
    """On a machine that has neither data nor adapters."""
    shutil.copytree(folder / "page" / "rows", tmp_path / "page" / "rows")
    assert study(folder, "--page-only", into=tmp_path) == figures
    for name in ("README.md", "sheet.jpg"):
        assert (tmp_path / "page" / name).read_bytes() == (folder / "page" / name).read_bytes()
    assert not (tmp_path / "output").exists()


def test_a_row_made_with_other_settings_does_not_count(folder, figures, tmp_path):
    shutil.copytree(folder / "page" / "rows", tmp_path / "page" / "rows")
    told = study(folder, "--page-only", "--set", "optimizer.learning_rate=0.1", into=tmp_path)
    assert "main.full.similarity" not in told and told["main.base.similarity"] == figures["main.base.similarity"]


def test_a_setting_that_has_been_added_since_counts_as_its_default(folder, figures):
    path = folder / "page" / "rows" / "full-0.safetensors"
    facts = read_header(path, KIND, VERSION)["facts"]
    older = copy.deepcopy(facts)
    del older["training"]["objective"]["change_weight"], older["usage"]["end"]
    other = copy.deepcopy(facts)
    other["training"]["objective"]["change_weight"] = 2.0
    assert read_row(path, older) is not None and read_row(path, other) is None


def test_a_row_file_with_old_setting_names_is_read_as_the_same_row(folder, figures, tmp_path, caplog):
    """As files of earlier releases name them: every multiplier filled in, the objective's own part beside the rest."""
    facts = read_header(folder / "page" / "rows" / "full-0.safetensors", KIND, VERSION)["facts"]
    older = copy.deepcopy(facts)
    training = older["training"]
    names = {"ema_decay": "average", "keep_last": "keep", "loss_spike_factor": "explosion"}
    training["run"] = {names.get(name, name): value for name, value in training["run"].items()}
    optimizer = training["optimizer"]
    optimizer["clip_norm"] = optimizer.pop("max_grad_norm")
    groups = dict.fromkeys(("anchor", "encoder", "film", "lora", "tokens"), 1.0)
    optimizer["rates"] = groups | optimizer.pop("lr_multipliers")
    own = {"token_dropout": 0.05, "portrait_weight": 0.0, "temperature_end": 0.3, "temperature_steps": 0.5}
    training["objective"] |= own | training["objective"].pop("own")
    del older["data"]["systems"], older["data"]["face_encoder"]
    row = {"frames": np.zeros((1, 1, 3, 64, 64, 3), np.uint8), "similarity": np.ones((1, 1))}
    write_row(tmp_path / "row.safetensors", row, older)
    assert older != facts and read_row(tmp_path / "row.safetensors", facts) is not None
    assert not caplog.records  # a file that is kept is nothing to warn of
    training["optimizer"]["rates"]["lora"] = 2.0
    write_row(tmp_path / "row.safetensors", row, older)
    assert read_row(tmp_path / "row.safetensors", facts) is None


def test_frames_come_back_from_a_row_nearly_as_they_were(tmp_path):
    frames = np.linspace(0, 255, 2 * 1 * 3 * 64 * 64 * 3).reshape(2, 1, 3, 64, 64, 3).round().astype(np.uint8)
    write_row(tmp_path / "row.safetensors", {"frames": frames, "similarity": np.ones((2, 1))}, {"drawn": "base"})
    told = read_row(tmp_path / "row.safetensors", {"drawn": "base"})
    assert told.keys() == {"frames", "similarity"} and told["frames"].shape == frames.shape
    assert np.abs(told["frames"].astype(int) - frames).mean() < 2


def test_published_rows_stay_until_they_are_made_again(figures):
    """Of a study whose rows were not kept: what is made now replaces them, and another protocol ends them."""
    before = figures | {"main.anchor.similarity": 0.5, "main.anchor.trained_on": 9, "main.full.similarity": 0.6}
    main = {row.name for row in MAIN_ROWS}
    keys = ["claim." + slug(claim.says) for claim in CLAIMS if {claim.better, claim.worse} <= main]
    others = ["claim." + slug(claim.says) for claim in CLAIMS if not {claim.better, claim.worse} <= main]
    still_open = [key for key in keys if figures[key] == "not run"]
    before |= dict.fromkeys([*keys, *others], "held") | {f"{still_open[0]}.rows": "others than today"}
    told = with_published(figures, before)
    assert told["main.anchor.similarity"] == 0.5 and told["main.full.similarity"] == figures["main.full.similarity"]
    assert [told[key] for key in still_open] == ["not run"] + ["held"] * (len(still_open) - 1)
    assert all(told[key] == figures[key] for key in [*keys, *others] if key not in still_open)
    assert with_published(figures, before | {"protocol.models": "others"}) == figures
    assert with_published(figures, {}) == figures


def test_everything_is_made_once_before_anything_is_made_twice():
    order = [(row.name, seed) for row, seed in in_order([list(MAIN_ROWS), list(ABLATION_ROWS)])]
    assert order.index(("slots", 0)) < order.index(("full", 1)) < order.index(("full third", 0))
    assert len(order) == sum(row.seeds for row in (*MAIN_ROWS, *ABLATION_ROWS)) == len(set(order))


def test_no_number_in_the_page_is_typed(folder, figures):
    """The page of other figures has other numbers, and all of its numbers."""
    text = (folder / "page" / "README.md").read_text()
    assert page(figures, {path.name for path in (folder / "page").iterdir()}) == text
    assert {"README.md", "figures.json", "sheet.jpg", "slots.jpg", "main.png"} <= {
        p.name for p in (folder / "page").iterdir()
    }
    marked = {key: 7777.777 if isinstance(value, float) else value for key, value in figures.items()}
    text = page(marked, set())
    for rows in TRIALS.values():
        for row in rows:
            text = text.replace(f"| {row.name} |", "|")  # a trial's settings are its name
    assert set(re.findall(r"\d+\.\d{2,}", text)) == {"7777.777"}


def test_the_page_of_nothing_says_that_nothing_was_run():
    protocol = dict.fromkeys(PROTOCOL, 1)
    text = page({f"protocol.{name}": value for name, value in protocol.items()}, set())
    for row in (*MAIN_ROWS, *ABLATION_ROWS):
        assert f"| {row.name} | not run |" in text
    for claim in CLAIMS:
        assert f"| {claim.says} | **not run** | not run |" in text
    for default in DEFAULTS:
        assert f"| {default.setting} | {default.value} | not run |" in text


def test_every_adapter_of_the_plan_can_be_built():
    from slotid_core.systems.slot_id import SlotIDAdapter
    from slotid_core.systems.slot_id.strategy import adapter_config
    from slotid_core.wan import WanConfig, WanModel

    backbone = WanModel(WanConfig(dim=128, ffn_dim=128, num_layers=2, num_heads=1))
    told = {}
    for name, adapter in ADAPTERS.items():
        settings = read_config(TRAINING, list(adapter.changes))
        config = SlotIDAdapter(adapter_config(settings.adapter, backbone)).config
        told[name] = repr((config, settings.objective, adapter.budget, adapter.reference))
    assert len(set(told.values())) == len(told)  # each changes something, and something else


def test_who_learnt_from_shuffled_frames_is_judged_with_shuffled_frames():
    for row in ABLATION_ROWS:
        assert row.usage.reference.shuffled == (ADAPTERS[row.adapter].reference == "shuffled")


def test_rows_and_claims_name_what_exists():
    rows = [row.name for row in (*MAIN_ROWS, *ABLATION_ROWS, *(r for rows in TRIALS.values() for r in rows))]
    assert len(set(rows)) == len(rows)
    assert {claim.better for claim in CLAIMS} | {claim.worse for claim in CLAIMS} <= {*rows, "as shipped"}


def test_verdicts():
    assert verdict((0.01, 0.2)) == "held"
    assert verdict((-0.2, WORTH / 2)) == "not held"
    assert verdict((-0.2, 0.2)) == "undecided"
    assert verdict(None) == verdict((float("nan"), float("nan"))) == "not run"
    assert joint(["held", "held"]) == "held" and joint(["held", "undecided"]) == "undecided"
    assert joint(["undecided", "not held"]) == "not held" and joint(["not held", "not run"]) == "not run"


def test_a_default_gives_way_to_what_is_better_and_in_nothing_worse():
    same, more, less = (-0.1, 0.1), (0.01, 0.2), (-0.2, -0.01)

    def told(similarity=same, dynamics=same, action=same):
        return {"similarity": similarity, "dynamics": dynamics, "action": action}

    assert gives_way([told(similarity=more)]) and gives_way([told(dynamics=more)])
    assert gives_way([told(), told(similarity=more)])
    assert not gives_way([told()]) and not gives_way([told(action=more)])
    assert not gives_way([told(similarity=more, action=less)])
    assert not gives_way([told(similarity=more), told(dynamics=less)])


def test_defaults_of_the_study_are_those_of_the_pack():
    settings = read_config(TRAINING)
    adapter, objective = {"encoder": {}, "gate": {}} | settings.adapter, settings.objective
    encoder = TemporalEncoderConfig(16, **adapter["encoder"])
    shipped = load_adapter(part_path("adapter")).config.gate
    told = {
        "routing": encoder.reader.routing,
        "plan_normalization": encoder.reader.plan_normalization,
        "gate_mode": AdapterConfig.gate_mode,
        "gate family, in training": GateSchedule(**adapter["gate"]).family,
        "gate of the adapter that ships": f"{shipped.family} {shipped.high:g}",
        "temporal_differences": str(encoder.temporal_differences).lower(),
        "movement_weight, change_weight": f"{settings.own_objective().movement_weight:g}, {objective.change_weight:g}",
        "identity_scale, text_scale": f"{Usage().identity_scale:g}, {Usage().text_scale:g}",
    }
    assert told == {default.setting: default.value for default in DEFAULTS}


def test_slots_that_share_nothing_and_slots_that_share_all(monkeypatch):
    import torch

    from slotid_core.systems.slot_id import IdentityStream
    from studies.slot_id import slot_behaviour

    def told(assignment, tokens):
        stream = IdentityStream(tokens, torch.zeros(1, 4), assignment)
        return {
            k: v.item()
            for k, v in slot_behaviour.behaviour(lambda latents: stream, torch.zeros(1, 16, 1, 2, 2)).items()
        }

    turns = torch.zeros(1, 2, 3, 2, 2)
    turns[:, 0, ::2], turns[:, 1, 1::2] = 1, 1  # every patch goes to the other slot in each frame
    assert told(turns, torch.eye(2)[None]) == pytest.approx({"entropy": 0, "cosine": 0, "change": 1})
    even = torch.full((1, 2, 3, 2, 2), 0.5)
    assert told(even, torch.ones(1, 2, 2)) == pytest.approx({"entropy": 1, "cosine": 1, "change": 0})
    one = slot_behaviour.behaviour(
        TemporalIdentityEncoder(TemporalEncoderConfig(16, width=32, num_heads=2)), torch.randn(2, 16, 3, 4, 4)
    )
    assert all(values.shape == (2,) and (values >= -1).all() and (values <= 1).all() for values in one.values())


def test_fewer_seeds_may_be_asked_for(folder, figures, tmp_path):
    told = study(folder, "--parts", "main", "--rows", "full", "--seeds", "1", into=tmp_path)
    assert told["main.full.seeds"] == 1


def test_unknown_rows_are_refused(folder):
    with pytest.raises(SlotIDError, match="fulll"):
        study(folder, "--rows", "fulll")
