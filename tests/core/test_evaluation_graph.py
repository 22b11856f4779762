"""What `evaluation graph` changes in a workflow, keeps between runs, and makes of what came out. No server here."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from toy_family import ship_random_family

from slotid_core.errors import SlotIDError
from slotid_core.evaluation.graph.figures import figures_of
from slotid_core.evaluation.graph.lab import lab_clips, lab_row
from slotid_core.evaluation.graph.records import Record, Records
from slotid_core.evaluation.graph.run import user_file
from slotid_core.evaluation.graph.sheet import save_sheet
from slotid_core.evaluation.graph.workflow import FOLDER, FRAMES, PORTRAIT, read_workflow
from slotid_core.evaluation.metrics import Metrics
from slotid_core.evaluation.studio import Studio
from slotid_core.evaluation.subjects import subjects_of
from slotid_core.evaluation.usage import Usage
from slotid_core.evaluation.variants import chosen_rows
from slotid_core.evaluation.videos import as_judged, of_judged_length, read_frames
from slotid_core.systems.registry import SYSTEMS
from slotid_core.toy_world.person import DYNAMICS

SHIPPED = "slot_id_text_to_video"


def changes(before: dict, after: dict) -> dict:
    """(node, input) -> new value."""
    return {
        (node, name): value
        for node, entry in after.items()
        for name, value in entry["inputs"].items()
        if before.get(node, {"inputs": {}})["inputs"].get(name) != value
    }


def test_a_user_changes_file_prompt_and_seed_and_nothing_else():
    shipped = json.loads((FOLDER / f"{SHIPPED}.json").read_text())
    nodes = read_workflow(SHIPPED).filled("ann.mp4", "Ann smiles.", 77)
    changed = changes(shipped, {name: entry for name, entry in nodes.items() if name in shipped})
    assert sorted(changed.values(), key=str) == [77, "Ann smiles.", "ann.mp4"]
    (prompt,) = [node for (node, _), value in changed.items() if value == "Ann smiles."]
    assert shipped[prompt]["_meta"]["title"] == "Prompt"
    added = nodes.keys() - shipped.keys()
    assert added == {PORTRAIT, FRAMES} and {nodes[name]["class_type"] for name in added} == {"PreviewImage"}
    for name, source in ((PORTRAIT, "SlotIDSelectPortrait"), (FRAMES, "VAEDecode")):
        assert shipped[nodes[name]["inputs"]["images"][0]]["class_type"] == source


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_has_a_template_that_can_be_measured(system):
    """A clip, a prompt, a seed and a video; and the lab's row has the scales of the template's sampler."""
    templates = [path.stem for path in FOLDER.glob(f"{system}_*.json")]
    assert all((row := lab_row(name)) is not None and row.system == system for name in templates)
    measured = []
    for name in templates:
        try:
            measured.append(read_workflow(name))
        except SlotIDError:
            continue  # a template that begins with a saved person, or refines a video
    assert measured, templates
    for workflow in measured:
        nodes = workflow.filled("ann.mp4", "Ann smiles.", 77)
        assert workflow.portrait is not None and PORTRAIT in nodes
        assert not workflow.seen_by(workflow.portrait[0]) & set(workflow.seeds), "what is shown of the reference"
        sampler = nodes[workflow.seeds[0]]["inputs"]
        one = sampler.get("cfg")  # core's samplers have a single scale
        assert workflow.usage.steps == sampler["steps"]
        assert workflow.usage.text_scale == sampler.get("text_scale", one)
        assert workflow.usage.identity_scale == sampler.get("identity_scale", one)
        assert workflow.usage.order == sampler.get("order", Usage().order)


def test_the_lab_is_used_as_the_workflow_is(tmp_path):
    nodes = json.loads((FOLDER / f"{SHIPPED}.json").read_text())
    nodes["16"] = {"class_type": "KSampler", "inputs": nodes["16"]["inputs"] | {"cfg": 3.5, "steps": ["15", 0]}}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(nodes))
    assert read_workflow(str(path)).usage == Usage(text_scale=3.5, identity_scale=3.5)
    assert read_workflow(str(path), steps=7).usage.steps == 7
    assert read_workflow(SHIPPED).usage == Usage()


def test_a_workflow_may_save_webm(tmp_path):
    nodes = json.loads((FOLDER / f"{SHIPPED}.json").read_text())
    frames = read_workflow(SHIPPED).frames
    nodes["19"] = {"class_type": "SaveWEBM", "inputs": {"images": frames, "codec": "vp9", "fps": 16.0, "crf": 8.0}}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(nodes))
    assert (read_workflow(str(path)).frames, read_workflow(str(path)).suffix) == (frames, ".webm")
    assert read_workflow(SHIPPED).suffix == ".mp4"


def test_steps_are_changed_where_asked():
    shipped = json.loads((FOLDER / f"{SHIPPED}.json").read_text())
    changed = changes(shipped, read_workflow(SHIPPED, steps=3).nodes)
    assert [(name, value) for (_, name), value in changed.items()] == [("steps", 3)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda nodes: nodes.pop("1"), "0 nodes of SlotIDLoadReferenceVideo .* exactly one loads the reference clip"),
        (lambda nodes: nodes.update(again=nodes["19"]), "2 nodes of SaveVideo or SaveWEBM; exactly one saves"),
        (lambda nodes: nodes.pop("16"), "no sampler whose seed is known"),
        (lambda nodes: nodes["16"]["inputs"].update(positive=["9", 0]), "0 nodes of CLIPTextEncode"),
        (lambda nodes: nodes.update(nodes=[]), "not in API form"),
    ],
)
def test_a_workflow_without_what_is_needed_is_refused(tmp_path, change, message):
    nodes = json.loads((FOLDER / f"{SHIPPED}.json").read_text())
    change(nodes)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(nodes))
    with pytest.raises(SlotIDError, match=message):
        read_workflow(str(path))


def test_an_unknown_workflow_names_those_that_ship():
    with pytest.raises(SlotIDError, match=SHIPPED):
        read_workflow("no_such_workflow")


def test_results_of_other_settings_are_not_mixed(tmp_path):
    (ann,) = subjects_of(0, 1, 1)
    records = Records(tmp_path, {"seed": 0, "pack": "a"})
    assert records.read(ann, 0) is None
    records.person(ann).mkdir()
    records.write(ann, 0, Record("No face.", 1.5))
    assert Records(tmp_path, {"seed": 0, "pack": "a"}).read(ann, 0) == Record("No face.", 1.5)
    with pytest.raises(SlotIDError, match="another pack, steps"):
        Records(tmp_path, {"seed": 0, "pack": "b", "steps": 4})


def made_up(people: int, prompts: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "similarity": rng.random((people, prompts)),
        "rank1": rng.integers(2, size=(people, prompts)).astype(float),
        "dynamics": rng.random((people, prompts, len(DYNAMICS), 2)),
    }


def test_what_ended_in_an_error_is_counted_and_in_no_figure():
    saved, lab = made_up(12, 2, 0), made_up(12, 2, 1)
    came_out = np.ones((12, 2), bool)
    whole = figures_of(saved, None, lab, came_out)
    assert (whole["errors"], whole["prompts"]) == (0, 24)
    assert whole["share_of_lab"] == pytest.approx(saved["similarity"].mean() / lab["similarity"].mean())
    came_out[3] = came_out[5, 1] = False
    figures = figures_of(saved, None, lab, came_out)
    for values in saved.values():
        values[~came_out] = 1000.0
    again = figures_of(saved, None, lab, came_out)
    assert again == figures and figures["errors"] == 3
    assert figures["similarity"] == pytest.approx(saved["similarity"][came_out].mean())
    assert figures["share_of_lab"] == pytest.approx(
        saved["similarity"][came_out].mean() / lab["similarity"][came_out].mean()
    )
    assert figures["lab.similarity"] == whole["lab.similarity"]  # everybody, as `evaluation toy` gives it
    for name in ("similarity", "rank1", "lab.rank1", "share_of_lab", *(f"dynamics.{name}" for name in DYNAMICS)):
        assert figures[f"{name}.low"] <= figures[name] <= figures[f"{name}.high"], name


def test_nothing_came_out():
    figures = figures_of(made_up(3, 1, 0), None, made_up(3, 1, 1), np.zeros((3, 1), bool))
    assert figures["errors"] == 3 and np.isnan(figures["similarity"]) and np.isnan(figures["share_of_lab"])


def test_each_factor_of_movement_by_itself():
    saved = made_up(40, 2, 0)
    saved["dynamics"][:, :, 2, 0] = -saved["dynamics"][:, :, 2, 1]
    figures = figures_of(saved, None, None, np.ones((40, 2), bool))
    assert figures[f"dynamics.{DYNAMICS[2]}"] == pytest.approx(-1)
    assert figures["dynamics"] == pytest.approx(np.mean([figures[f"dynamics.{name}"] for name in DYNAMICS]))


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("family")
    ship_random_family(folder)
    torch.set_num_threads(1)
    return Studio(None, Usage(steps=2), folder)


def test_the_lab_draws_what_evaluation_toy_draws_and_keeps_it(studio, tmp_path):
    subjects, row, ended = subjects_of(0, 5, 2), chosen_rows(["base"], [])[0], []
    records = Records(tmp_path, {})
    drawn = lab_clips(studio, row, subjects, 7, records, ended.append)
    assert torch.equal(drawn, studio.clips(row, subjects, 7)) and sum(ended) == 10
    before = records.lab(subjects[0]).stat().st_mtime_ns
    records.lab(subjects[4]).unlink()
    assert torch.equal(lab_clips(studio, row, subjects, 7, records, ended.append), drawn)
    assert records.lab(subjects[0]).stat().st_mtime_ns == before


def test_the_lab_is_of_the_system_that_the_workflow_is_named_after():
    rows = [lab_row(name) for name in (SHIPPED, "lynx_wan_14b", "mine")]
    assert [row and row.name for row in rows] == ["slot_id.full", "lynx.full", None]


def test_the_file_shows_the_scene_and_movement_of_the_labs_reference(studio, tmp_path):
    """Frame by frame: a head that turns otherwise, or another place, is far away."""
    ann, bob = subjects_of(3, 2, 1)
    records = Records(tmp_path, {})
    frames, rate = read_frames(user_file(ann, records))
    assert (frames.shape, rate) == ((65, 256, 256, 3), 16)
    own, others = (studio.pictures(subject).reference for subject in (ann, bob))
    file = as_judged(frames)
    corner = torch.stack([clip[:, :12, :12].mean((1, 2)) for clip in (file, own, others)])
    assert (corner[0] - corner[1]).abs().mean() < 0.5 * (corner[0] - corner[2]).abs().mean()
    turning = [clip.sub(clip.mean(0)).square().mean((1, 2, 3)).numpy() for clip in (file, own, others)]
    assert np.corrcoef(turning[0], turning[1])[0, 1] > 0.8 > np.corrcoef(turning[0], turning[2])[0, 1]


def test_clips_of_other_sizes_and_lengths_become_what_judges_take():
    frames = np.zeros((9, 32, 128, 3), np.uint8)
    frames[8] = 255
    clip = of_judged_length(as_judged(frames))
    assert clip.shape == (17, 64, 64, 3) and clip[7].max() == 0 and clip[8:].min() == 1
    assert of_judged_length(torch.arange(30)).tolist() == list(range(17))


def test_the_sheet_has_a_row_for_people_without_a_result(studio, tmp_path):
    ann, bob = subjects_of(0, 2, 1)
    records = Records(tmp_path / "records", {})
    user_file(ann, records).with_name("0.mp4").write_bytes(records.reference(ann).read_bytes())
    Image.new("RGB", (64, 64), (10, 200, 30)).save(records.portrait(ann))
    records.write(ann, 0, Record("", 1.0))
    records.person(bob).mkdir()
    records.reference(bob).write_bytes(b"no video")
    records.write(bob, 0, Record("LoadReferenceVideo: this is no video.", 0.1))
    path = tmp_path / "sheets" / "sheet.png"
    save_sheet(records, [ann, bob], np.array([[0.5], [np.nan]]), torch.rand(2, 1, 17, 64, 64, 3), path)
    sheet = np.asarray(Image.open(path))
    rows = np.split(sheet[28:], 2)
    assert (rows[0] == (10, 200, 30)).all(-1).sum() > 100 * 100  # the portrait
    assert ((rows[1][..., 0] > 120) & (rows[1][..., 1:] < 60).all(-1)).any()  # the error, in red
    assert [path.name for path in path.parent.iterdir()] == ["sheet.png"]


def test_measured_figures_have_the_keys_that_are_promised(studio):
    subjects = subjects_of(0, 2, 1)
    measured = Metrics(studio, subjects, 0).measure(torch.rand(2, 1, 17, 64, 64, 3))
    figures = figures_of(measured, measured, measured, np.ones((2, 1), bool))
    for name in ("similarity", "rank1", "action", "background", "clothes", *(f"dynamics.{name}" for name in DYNAMICS)):
        for row in ("", "frames.", "lab."):
            assert {f"{row}{name}{end}" for end in ("", ".low", ".high")} <= figures.keys()
    assert figures["share_of_lab"] == pytest.approx(1)
