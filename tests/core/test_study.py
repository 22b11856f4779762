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
from slotid_core.evaluation import intervals, paired
from slotid_core.toy_world.person import DYNAMICS
from slotid_core.weights import read_header
from studies.slot_id.claims import CLAIMS
from studies.slot_id.command import main
from studies.slot_id.defaults import DEFAULTS
from studies.slot_id.page import page
from studies.slot_id.plan import ABLATION_ROWS, MAIN_ROWS, TRIALS
from studies.slot_id.row_files import KIND, VERSION, read_row, write_row


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
        patch.setattr(paired, "TEST_RESAMPLES", 50)
        yield


PROTOCOL = ["people", "steps", "third", "batch", "reference", "trained_on", "models", "seeds", "level", "claim_tests",
            "default_tests", *(f"{of}_{what}" for of in ("reported", "development", "earlier")
                               for what in ("seed", "prompts"))]  # fmt: skip


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
    return sorted([*(folder / "output" / "adapters").rglob("*.safetensors"), *(folder / "page" / "rows").rglob("*.*")])


@pytest.fixture(scope="module")
def figures(folder):
    study(folder, "--parts", "main", "--rows", "base;full;ground_truth")
    (trained,) = (folder / "output/adapters").glob("full-0-*/adapter.safetensors")
    shutil.copy(trained, folder / "family/adapter.safetensors")
    study(folder, "--parts", "trials", "--rows", "as shipped;shuffled")
    return study(folder, "--parts", "ablations", "--rows", "full third;movement third;movement third, frames shuffled")


def test_what_is_finished_has_figures_and_what_is_not_has_none(figures):
    rows = ("main.base", "main.full", "main.ground_truth", "trial.as_shipped", "trial.shuffled", "ablation.full_third")
    for row in rows:
        for name in ("similarity", "action", "marks"):
            if f"{row}.{name}" in figures or name != "marks":  # two people may not show a mark and none
                assert figures[f"{row}.{name}.low"] <= figures[f"{row}.{name}"] <= figures[f"{row}.{name}.high"]
    assert not any(key.startswith(("main.anchor", "ablation.no_FiLM")) for key in figures)
    shuffled = "ablation.movement_third__frames_shuffled.similarity"
    difference = figures[shuffled] - figures["ablation.movement_third.similarity"]
    assert figures[f"{shuffled}.difference"] == pytest.approx(difference)
    assert figures["claim.Sinkhorn_routing_is_better_than_softmax"] == "not run"
    assert figures["default.movement_weight__change_weight.development"] in ("stays", "gives way to 0, 0")
    assert figures["default.gate_mode.development"] == figures["default.gate_mode.reported"] == "not run"
    assert figures["main.full.on"] == "reported" and figures["main.full.seeds"] == 2
    assert {figures["main.full.similarity.seed_0"], figures["main.full.similarity.seed_1"]} != {
        figures["main.full.similarity"]
    }
    # Two people nod, smile, talk and look around once each.
    assert {figures[f"clips.reported.{factor}"] for factor in DYNAMICS if factor != "sway"} == {2}
    assert figures["clips.reported.sway"] == 8
    assert figures["main.constant_guess.dynamics_error"] > 0 and "main.constant_guess.similarity" not in figures
    assert figures["protocol.steps"] == 3 and figures["protocol.third"] == 1
    assert 0 <= figures["slots.full.entropy"] <= 1 and "slots.12_slots.entropy" not in figures


def test_a_piece_is_made_once(folder, figures):
    made = files(folder)
    times = [path.stat().st_mtime_ns for path in made]
    assert study(folder, "--parts", "main", "--rows", "base;full;ground_truth") == figures
    assert files(folder) == made
    assert [path.stat().st_mtime_ns for path in made] == times
    names = {path.parent.name.rsplit("-", 2)[0] for path in made if path.name == "adapter.safetensors"}
    assert names == {"full", "full_third", "movement_third", "movement_third__frames_shuffled"}
    assert (folder / "output" / "people_shuffled" / "manifest.json").is_file()
    assert not (folder / "output" / "people_same_clip").exists()  # nothing asked for a row that needs it


def test_a_row_of_which_one_seed_is_trained_counts_and_says_so(folder, figures, tmp_path):
    shutil.copytree(folder / "page" / "rows", tmp_path / "page" / "rows")
    (tmp_path / "page" / "rows" / "reported" / "full-1.safetensors").unlink()
    fewer = study(folder, "--page-only", into=tmp_path)
    assert (fewer["main.full.seeds"], figures["main.full.seeds"]) == (1, 2)
    assert fewer["main.full.similarity"] != figures["main.full.similarity"]
    assert "| full (1 of 2 seeds) |" in (tmp_path / "page" / "README.md").read_text()
    assert "| full |" in (folder / "page" / "README.md").read_text()


def test_the_page_can_be_made_from_the_rows_alone(folder, figures, tmp_path):
    """On a machine that has neither data nor adapters."""
    shutil.copytree(folder / "page" / "rows", tmp_path / "page" / "rows")
    assert study(folder, "--page-only", into=tmp_path) == figures
    for name in ("README.md", "sheet.jpg"):
        assert (tmp_path / "page" / name).read_bytes() == (folder / "page" / name).read_bytes()
    assert not (tmp_path / "output").exists()


def test_the_ground_truth_may_have_its_old_name(tmp_path):
    row = {"frames": np.zeros((1, 1, 3, 64, 64, 3), np.uint8), "similarity": np.ones((1, 1))}
    write_row(tmp_path / "row.safetensors", row, {"drawn": "ceiling"})
    assert read_row(tmp_path / "row.safetensors", {"drawn": "ground_truth"}) is not None
    assert read_row(tmp_path / "row.safetensors", {"drawn": "base"}) is None


def test_a_row_made_with_other_settings_does_not_count(folder, figures, tmp_path):
    shutil.copytree(folder / "page" / "rows", tmp_path / "page" / "rows")
    other = study(folder, "--page-only", "--set", "optimizer.learning_rate=0.1", into=tmp_path)
    assert "main.full.similarity" not in other and other["main.base.similarity"] == figures["main.base.similarity"]


def test_a_setting_that_has_been_added_since_counts_as_its_default(folder, figures):
    path = folder / "page" / "rows" / "reported" / "full-0.safetensors"
    facts = read_header(path, KIND, VERSION)["facts"]
    older = copy.deepcopy(facts)
    del older["training"]["objective"]["change_weight"], older["usage"]["end"]
    other = copy.deepcopy(facts)
    other["training"]["objective"]["change_weight"] = 2.0
    assert read_row(path, older) is not None and read_row(path, other) is None


def test_a_row_file_with_old_setting_names_is_read_as_the_same_row(folder, figures, tmp_path, caplog):
    """As files of earlier releases name them: every multiplier filled in, the objective's own part beside the rest."""
    facts = read_header(folder / "page" / "rows" / "reported" / "full-0.safetensors", KIND, VERSION)["facts"]
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
    row = read_row(tmp_path / "row.safetensors", {"drawn": "base"})
    assert row is not None and row.keys() == {"frames", "similarity"} and row["frames"].shape == frames.shape
    assert np.abs(row["frames"].astype(int) - frames).mean() < 2


def test_rows_of_an_earlier_release_stand_in_and_are_compared_with_each_other_only(folder, figures, tmp_path, capsys):
    """Their files lie in the folder itself and do not say how their scenes were chosen; the video model was another."""
    rows = tmp_path / "page" / "rows"
    shutil.copytree(folder / "page" / "rows" / "reported", rows / "reported")
    for name in ("full_third-0", "movement_third-0", "base-0"):
        facts = read_header(rows / "reported" / f"{name}.safetensors", KIND, VERSION)["facts"]
        older = {key: value for key, value in facts.items() if key != "scenes"}
        older |= {"seed": 0, "prompts": 3, "models": "of that release"}
        measured = read_row(rows / "reported" / f"{name}.safetensors", facts)
        assert measured is not None
        write_row(rows / f"{name}.safetensors", measured, older if name != "base-0" else older | {"judges": "others"})
    for path in (rows / "reported").glob("full_third-*"):
        path.unlink()
    said = study(folder, "--page-only", into=tmp_path)
    assert (said["ablation.full_third.on"], said["ablation.movement_third.on"]) == ("earlier", "reported")
    key = "default.movement_weight__change_weight.full_third.development.similarity"
    assert said[f"{key}.on"] == "earlier"  # of which both rows have a file
    assert "default.movement_weight__change_weight.full_third.reported.similarity" not in said
    assert said["main.base.on"] == "reported"
    text = (tmp_path / "page" / "README.md").read_text()
    assert "| full third (1 of 2 seeds, earlier clips) |" in text
    for path in (rows / "reported").glob("base-*"):
        path.unlink()
    said = study(folder, "--page-only", into=tmp_path)
    assert "main.base.on" not in said
    assert "base-0.safetensors of the earlier people does not count: it was made with other judges." in (
        capsys.readouterr().out
    )
    assert "| base | not run |" in (tmp_path / "page" / "README.md").read_text()


def test_a_picture_of_rows_that_no_longer_count_goes(folder, figures, tmp_path):
    (tmp_path / "page").mkdir()
    for name in ("main.png", "sheet_gate.jpg", "mine.png"):
        (tmp_path / "page" / name).touch()
    study(folder, "--page-only", into=tmp_path)
    assert not {"main.png", "sheet_gate.jpg"} & {path.name for path in (tmp_path / "page").iterdir()}
    assert (tmp_path / "page" / "mine.png").is_file()


def test_the_plan_lists_each_training_seed(folder, figures, tmp_path, capsys):
    study(folder, "--page-only", into=tmp_path)
    capsys.readouterr()
    study(folder, "--plan", "--parts", "main,ablations", "--rows", "slots;movement third", into=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "train slots, run.seed=0: 3 steps", "train slots, run.seed=1: 3 steps",
        "train movement third, run.seed=0: 1 steps", "train movement third, run.seed=1: 1 steps",
    ]  # fmt: skip
    # A row of a default is measured on both sets of people.
    assert lines[4] == "4 adapters, 8 steps; 6 rows to measure, 48 clips"
    study(folder, "--plan", "--parts", "main", "--rows", "full")
    assert capsys.readouterr().out.splitlines()[-1] == "0 adapters, 0 steps; 0 rows to measure, 0 clips"


def test_defaults_need_people_of_their_own(folder):
    with pytest.raises(SlotIDError, match="other people"):
        study(folder, "--page-only", "--seed", "0")


def test_no_number_in_the_page_is_typed(folder, figures):
    """The page of other figures has other numbers, and all of its numbers."""
    text = (folder / "page" / "README.md").read_text()
    pictures = {path.name for path in (folder / "page").iterdir()}
    assert page(figures, pictures) == text
    assert {"README.md", "figures.json", "sheet.jpg", "slots.jpg", "main.png"} <= {
        p.name for p in (folder / "page").iterdir()
    }
    marked = {key: 7777.777 if isinstance(value, float) else value for key, value in figures.items()}
    text = page(marked | {"protocol.level": 0.05}, set())
    for rows in TRIALS.values():
        for row in rows:
            text = text.replace(f"| {row.name} |", "|")  # a trial's settings are its name
    assert set(re.findall(r"\d+\.\d{2,}", text)) == {"7777.777"}


def test_the_page_of_nothing_says_that_nothing_was_run():
    protocol = dict.fromkeys(PROTOCOL, 1)
    text = page({f"protocol.{name}": value for name, value in protocol.items()}, set())
    for row in (*MAIN_ROWS, *ABLATION_ROWS):
        assert f"| {row.name} | not run |" in text
    assert "| constant guess | not run |" in text
    for claim in CLAIMS:
        assert f"| {claim.statement} | {'| | ' if claim.by_factor else ''}**not run** | not run |" in text
    for default in DEFAULTS:
        for people in ("development", "reported"):
            assert f"| {default.setting} | {default.value} | not run | {people} |" in text


def test_fewer_seeds_may_be_asked_for(folder, figures, tmp_path):
    first = study(folder, "--parts", "main", "--rows", "full", "--seeds", "1", into=tmp_path)
    assert first["main.full.seeds"] == 1


def test_unknown_rows_are_refused(folder):
    with pytest.raises(SlotIDError, match="fulll"):
        study(folder, "--rows", "fulll")
