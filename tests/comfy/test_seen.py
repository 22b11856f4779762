"""What nodes tell the page: warnings that go when there are none, clips that play, facts that fit them."""

import itertools

import av
import pytest
import torch
from graphs import node, person

CLIP = "slotid_examples/person_1000015.mp4"


def reading(**settings) -> dict:
    values = dict(
        file=CLIP, num_frames=17, start_seconds=0.0, sample_rate=16.0, short_side=240, decoder="PyAV",
        window="at start_seconds",
    )  # fmt: skip
    return node("SlotIDLoadReferenceVideo", **(values | settings))


def tracking(**settings) -> dict:
    values = dict(size=128, margin=0.5, smoothing=8, subject=0, on_missing="error", detector="auto")
    return node("SlotIDFaceTrack", frames=["read", 0], **(values | settings))


def graph(num_frames: int = 17, rank: int = 0) -> dict:
    choosing = dict(face_clip=["track", 0], candidates=3, rank=rank, background="white", detector="auto")
    return {
        "read": reading(num_frames=num_frames),
        "track": tracking(),
        "choose": node("SlotIDSelectPortrait", **choosing),
        "show": node("PreviewImage", images=["choose", 0]),
    }


@pytest.fixture(scope="module")
def outputs(client):
    return client.run(graph()).outputs


def seen(output: dict) -> dict:
    (facts,) = output["slotid_seen"]
    return facts


def test_a_clip_plays_and_people_lie_in_it(client, outputs, tmp_path):
    facts = seen(outputs["track"])
    clip = facts["clip"]
    with av.open(str(client.fetch(clip["file"], tmp_path))) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == clip["frames"] == 17
    assert frames[0].shape[:2] == (clip["height"], clip["width"])
    person = facts["people"][facts["subject"]]
    assert person["first"] == 0 and len(person["boxes"]) == len(facts["crop"]) == 17
    for left, top, right, bottom in person["boxes"]:
        assert 0 <= left < right <= clip["width"] and 0 <= top < bottom <= clip["height"]
    assert set(person["detected"]) <= set(range(17))


def test_candidates_are_pictures_in_the_temporary_folder(client, outputs, tmp_path):
    facts = seen(outputs["choose"])
    assert len(facts["files"]) == len(facts["frames"]) == len(facts["words"]) == 3
    assert all(file["type"] == "temp" and client.fetch(file, tmp_path).stat().st_size for file in facts["files"])


def test_the_timeline_says_what_was_read(outputs):
    facts = seen(outputs["read"])
    assert (facts["file"], facts["frames"], facts["start"], facts["searched"]) == (CLIP, 17, 0.0, False)


def test_a_searched_timeline_has_windows_and_faces_in_order(client):
    run = {"read": reading(window="best"), "show": node("PreviewImage", images=["read", 4])}
    facts = seen(client.run(run).outputs["read"])
    starts = [start for start, _ in facts["windows"]]
    assert facts["searched"] and len(starts) > 1 and starts == sorted(starts)
    assert 0 <= facts["start"] <= facts["duration"] and any(found for _, found in facts["faces"])


def test_a_warning_is_told_and_taken_back(client):
    warned = client.run(graph(num_frames=1)).outputs["read"]["slotid_warnings"]
    assert any("One frame shows no movement" in line for line in warned)
    assert client.run(graph()).outputs["read"]["slotid_warnings"] == []


def test_what_a_node_tells_beside_its_own_pictures_is_kept(pack_module):
    seen_module = pack_module("nodes.shared.seen")
    from comfy_api.latest import io, ui

    output = io.NodeOutput(1, ui=ui.PreviewText("own"))
    told = seen_module.with_ui(seen_module.with_ui(output, {"text": ["more"]}), seen_module.show("clip", a=1))
    assert told.ui["text"] == ["own", "more"] and told.ui["slotid_seen"] == [{"kind": "clip", "a": 1}]


def test_a_full_temporary_folder_costs_the_picture_and_not_the_run(pack_module, monkeypatch, tmp_path):
    seen_module = pack_module("nodes.shared.seen")
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setattr(seen_module.folder_paths, "get_temp_directory", lambda: str(blocked))
    assert "could not be written" in seen_module.clip_file(torch.zeros(3, 16, 16, 3), 16.0)["failure"]
    assert "could not be written" in seen_module.picture_files(torch.zeros(1, 16, 16, 3))["failure"]


def test_odd_sides_still_and_single_frames_make_a_clip(pack_module, monkeypatch, tmp_path):
    seen_module = pack_module("nodes.shared.seen")
    monkeypatch.setattr(seen_module.folder_paths, "get_temp_directory", lambda: str(tmp_path))
    told = seen_module.clip_file(torch.full((1, 37, 51, 4), float("nan")), 0.0)
    assert told["frames"] == 1 and told["rate"] == 16.0 and not told["width"] % 2


def test_slots_are_seen_over_the_clip_that_they_read(client, tmp_path):
    graph = person("ann", 0xC08060)
    graph["ann slots"]["inputs"]["face_clip"] = ["ann picture", 0]
    graph |= {"model": node("SlotIDLoadToyWorld", weights="random")}
    graph["show"] = node("PreviewImage", images=["ann slots", 1])
    facts = seen(client.run(graph).outputs["ann slots"])
    assert facts["clip"]["frames"] == 9 and client.fetch(facts["clip"]["file"], tmp_path).stat().st_size
    assert len(facts["legend"]) > 1 and all(len(colour) == 7 for _, colour in facts["legend"])


def test_a_training_tells_its_curves_and_its_last_sheet(pack_module, monkeypatch, tmp_path):
    from PIL import Image

    live = pack_module("nodes.training.live")
    monkeypatch.setattr(live.picture_files.__globals__["folder_paths"], "get_temp_directory", lambda: str(tmp_path))
    Image.new("RGB", (40, 30)).save(tmp_path / "sheet.png")
    shown = live.Shown(1000)
    for step in range(1000):
        shown({"event": "step", "step": step, "loss": 1.0 / (step + 1), "rate": 1e-4})
    shown({"event": "validation", "step": 1000, "validation_loss": 0.5, "validation_loss_mismatched": float("nan")})
    shown({"event": "samples", "path": str(tmp_path / "sheet.png"), "step": 1000})
    assert shown.facts()["waits"] == ""
    shown({"event": "stalled", "waiting_for": "reading the samples of step 1000", "seconds": 600.4})
    (facts,) = shown.told()["slotid_seen"]
    assert facts["waits"] == "It has waited 600 s for reading the samples of step 1000."
    shown({"event": "step", "step": 1000, "loss": 1e-4, "rate": 1e-4})
    assert shown.facts()["waits"] == ""
    assert facts["curves"]["validation"] == [[1000, 0.5]] and set(facts["curves"]) == {"training", "validation"}
    points = facts["curves"]["training"]
    assert len(points) <= live.MOST_POINTS and points[-1][0] == 999
    assert all(before[1] > after[1] for before, after in itertools.pairwise(points))
    assert (tmp_path / "slotid" / facts["files"][0]["filename"]).is_file()
