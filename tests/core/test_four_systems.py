"""The study of four systems: its plan, its result files, and a page on which nothing is made up."""

import json

import numpy as np
import pytest
import torch

from slotid_core.errors import SlotIDError
from slotid_core.systems.registry import SYSTEMS, inference_of
from slotid_core.toy_world.person import DYNAMICS
from studies.four_systems import cost
from studies.four_systems.__main__ import main
from studies.four_systems.figures import figures_of, read_results, undecided
from studies.four_systems.lynx_parts import verdicts
from studies.four_systems.page import BEGIN, END, NOT_MEASURED, with_short_form, write_page
from studies.four_systems.plan import BATCH, MODEL_NAMES, ROWS, STEPS, TRAINING_SEEDS, Row
from studies.four_systems.results import file_of, read_result, write_frames, write_result
from studies.four_systems.runner import Settings, Study

PEOPLE = 12
BY_NAME = {row.name: row for row in ROWS}


def made_up(similarity: float, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = (PEOPLE, 4)
    pairs = rng.random((*shape, len(DYNAMICS), 2))
    pairs[:, ::2, 0] = np.nan
    return {
        "similarity": similarity + 0.02 * rng.standard_normal(shape), "rank1": np.ones(shape),
        **{name: rng.integers(2, size=shape).astype(float) for name in ("action", "background", "clothes")},
        "dynamics": pairs,
    }  # fmt: skip


def put(folder, name: str, similarity: float, seed: int = 0, **facts) -> None:
    shared = {"models": "m", "judges": "j", "people": PEOPLE, "prompts": 4, "seed": 20, "sampling_steps": 20}
    write_result(file_of(folder / "results", "toy", name, seed), made_up(similarity, seed), shared | facts)


@pytest.fixture()
def some(tmp_path):
    """The model alone, the person drawn, two systems of two seeds each, and one row of other people."""
    for name, similarity in (("base", 0.0), ("ground_truth", 0.8)):
        put(tmp_path, name, similarity)
    for seed in range(2):
        put(tmp_path, "slot_id.full", 0.3, seed, steps=STEPS, batch=BATCH)
        put(tmp_path, "lynx.full", 0.5, seed, steps=STEPS, batch=BATCH)
    put(tmp_path, "st_drc.full", 0.7, people=3)
    return tmp_path


def test_every_system_is_in_the_plan_with_a_recipe_and_the_budget(tmp_path):
    study = Study(Settings(tmp_path / "output", tmp_path / "results"))
    assert set(MODEL_NAMES) == set(SYSTEMS)
    for row in ROWS:
        if row.system:
            assert {row.variant, row.trained} <= set(inference_of(row.system).variants)
            settings = study.training(row.system, row.trained, 1)
            assert (settings.system, settings.run.steps, settings.run.batch) == (row.system, STEPS, BATCH)
            assert settings.run.seed == 1 and not settings.data.train
    paths = {study.adapter_path(row, seed) for row in ROWS if row.system for seed in range(2)}
    assert len(paths) == 2 * len({(row.system, row.trained) for row in ROWS if row.system})
    assert study.adapter_path(BY_NAME["lynx.clip"], 0) == study.adapter_path(BY_NAME["lynx.full"], 0)
    other = Study(Settings(tmp_path / "output", tmp_path / "results", steps=7))
    assert other.adapter_path(BY_NAME["lynx.full"], 0) not in paths
    assert len(study.missing()) == sum(len(row.parts) * row.seeds for row in ROWS)


def test_results_are_read_back_and_only_with_the_facts_of_today(tmp_path):
    path = file_of(tmp_path, "toy", "base", 0)
    values = {"a": np.array([[1.0, np.nan], [0.25, -3.0]])}
    write_result(path, values, {"seed": 1, "reads": [["a", "b"]]})
    kept = read_result(path)
    assert kept is not None
    np.testing.assert_array_equal(kept["a"], values["a"])
    assert read_result(path, {"seed": 1, "reads": [("a", "b")]}) is not None
    assert read_result(path, {"seed": 2, "reads": []}) is None
    assert read_result(tmp_path / "none.safetensors") is None


def test_rows_of_other_people_are_not_put_beside(some):
    results, facts = read_results(some / "results")
    assert ("toy", "lynx.full") in results and ("toy", "st_drc.full") not in results
    assert facts["toy"]["people"] == PEOPLE and facts["toy"]["steps"] == STEPS
    figures = figures_of(results)
    assert figures["toy.lynx.full.gap_closed"] == pytest.approx(0.5 / 0.8, abs=0.02)
    assert figures["toy.lynx.full.seeds"] == TRAINING_SEEDS
    assert figures["toy.lynx.full.similarity.low"] < 0.5 < figures["toy.lynx.full.similarity.high"]


def test_what_is_decided_and_what_is_not(some):
    results, _ = read_results(some / "results")
    decided, still_open = undecided(results, figures_of(results))
    assert decided == [text for text in decided if "Lynx is more like the person than Slot-ID" in text]
    assert len(decided) == 1 and len(still_open) == 5 and all("not measured" in text for text in still_open)


def test_the_page_has_only_what_was_measured(some):
    readme = some / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_frames(file_of(some / "results", "toy", "base", 0).with_suffix(".jpg"), torch.rand(8, 5, 16, 16, 3))
    write_page(some / "results", some / "page", readme)
    text = (some / "page" / "README.md").read_text()
    figures = json.loads((some / "page" / "figures.json").read_text())
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert NOT_MEASURED in rows["ST-DRC"] and NOT_MEASURED in rows["LaVieID"]
    assert f"{figures['toy.lynx.full.similarity']:.3f}" in text
    assert "not measured" in text.split("## Cost")[1] and (some / "page" / "sheet.jpg").is_file()
    short = readme.read_text()
    assert short.startswith("before\n") and short.endswith("\nafter\n") and "old" not in short
    assert "| Lynx |" in short and "Not measured yet: ST-DRC, LaVieID." in short


def test_without_a_system_nothing_is_said(tmp_path):
    put(tmp_path, "base", 0.0)
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}{END}")
    write_page(tmp_path / "results", tmp_path / "page", readme)
    assert readme.read_text() == f"{BEGIN}{END}"
    assert with_short_form("no marks", "short") == "no marks"
    assert main(["--page-only", "--page", str(tmp_path), "--readme", str(readme)]) == 0
    with pytest.raises(SlotIDError, match="no row or part 'nobody'"):
        main(["--rows", "nobody", "--plan", "--page", str(tmp_path)])
    assert "not measured" in (tmp_path / "README.md").read_text() or readme.read_text() == f"{BEGIN}{END}"


@pytest.mark.slow
def test_a_run_makes_what_is_missing_and_does_not_make_it_again(tmp_path, monkeypatch):
    """Data, a training and its measurements of one system, all tiny, through the command."""
    arguments = [
        "--page", str(tmp_path / "page"), "--output", str(tmp_path / "output"), "--readme", str(tmp_path / "none"),
        "--rows", "base,lynx.full,lynx.clip,slot_id+lynx", "--parts", "toy,cost", "--seeds", "1",
        "--people", "1", "--prompts", "1",
        "--steps", "1", "--batch", "2", "--sampling-steps", "1", "--drawn-people", "1",
    ]  # fmt: skip
    monkeypatch.setattr(cost, "PAIRS", 1)
    assert main(arguments) == 0
    files = sorted((tmp_path / "page" / "results").rglob("*.safetensors"))
    assert [file.parent.name + "/" + file.stem for file in files] == [
        "cost/base-0", "cost/lynx.full-0", "toy/base-0", "toy/lynx.clip-0", "toy/lynx.full-0", "toy/slot_id+lynx-0",
    ]  # fmt: skip
    measured = read_result(files[1])
    assert measured is not None
    assert measured["parameters"] > 1e5 and measured["bytes"] > 1e5 and measured["training_bytes"] > 1e5
    before = {file: file.read_bytes() for file in files}
    monkeypatch.setattr(Study, "make", lambda *job: pytest.fail("made again"))
    assert main(arguments) == 0
    assert all(file.read_bytes() == content for file, content in before.items())
    text = (tmp_path / "page" / "README.md").read_text()
    assert "| Lynx (1 of 2 seeds) |" in text
    assert isinstance(BY_NAME["base"], Row)


def test_each_claim_about_lynx_gets_the_verdict_of_its_interval(some):
    assert verdicts(read_results(some / "results")[0]) == []
    put(some, "lynx.id", 0.4)
    put(some, "lynx.ref", 0.5)
    said = verdicts(read_results(some / "results")[0])
    assert len(said) == 5
    assert "a little less alike: **holds here**, +0.1" in said[0] and "has +0.044" in said[0]
    assert "**undecided here**" in said[2] and "**the opposite here**, -0.1" in said[3]


def test_a_setting_that_is_added_makes_no_result_old_and_another_value_does(tmp_path):
    """Results of hours would be made again for a setting that they were made without."""
    study, row = Study(Settings(tmp_path / "output", tmp_path / "results")), BY_NAME["lynx.full"]
    facts = study.facts("toy", row, 0)
    path = file_of(tmp_path / "results", "toy", row.name, 0)

    def kept_after(change) -> bool:
        before = json.loads(json.dumps(facts))
        change(before)
        write_result(path, {"a": np.zeros((1, 1))}, before)
        return study.result("toy", row, 0) is not None

    assert kept_after(lambda before: None)
    assert kept_after(lambda before: before["training"][0]["run"].pop("context_parallel"))
    assert kept_after(lambda before: before["data"].pop("margin"))
    assert not kept_after(lambda before: before["training"][0]["optimizer"].update(learning_rate=1.0))
    assert not kept_after(lambda before: before["training"][0]["run"].update(context_parallel=2))
    assert not kept_after(lambda before: before["data"].update(margin=0.6))
    assert not kept_after(lambda before: before["training"][0]["run"].update(of_a_later_release=1))
