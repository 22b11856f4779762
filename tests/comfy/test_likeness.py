"""The nodes that score likeness, through a real server: curve, worst frames, the best video, and the gate."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from comfy_api.latest import InputImpl
from graphs import node
from PIL import Image

from slotid_core.comfy_client import WorkflowError
from slotid_core.evaluation.likeness.in_graph import frames_of
from slotid_core.evaluation.likeness.networks import Networks

sys.path.append(str(Path(__file__).resolve().parents[1] / "core"))
from likeness_clips import ANN, BOB, REAL, drawn, write_frames  # pyright: ignore[reportMissingImports]
from likeness_small_networks import small_networks  # pyright: ignore[reportMissingImports]


def loaded(file: str, frames: int = 17) -> dict:
    return node(
        "SlotIDLoadReferenceVideo", file=file, num_frames=frames, start_seconds=0.0, sample_rate=0.0, short_side=480,
        decoder="auto",
    )  # fmt: skip


@pytest.fixture(scope="module")
def clips(client, tmp_path_factory):
    """Names of uploaded clips: Ann's reference, a video of her, one with five frames of Bob, and one of him."""
    folder = tmp_path_factory.mktemp("clips")
    swapped = drawn(ANN, 3, 17)
    swapped[8:13] = drawn(BOB, 3, 17)[8:13]
    made = {"ann": drawn(ANN, 8, 17), "good": drawn(ANN, 3, 17), "bad": swapped, "bob": drawn(BOB, 3, 17)}
    return {name: client.upload(write_frames(folder / f"{name}.mp4", frames)) for name, frames in made.items()}


def generated(name: str, file: str) -> dict:
    """A whole video, over cuts too; its frames are (name, 0)."""
    return {f"{name} file": node("LoadVideo", file=file), name: node("GetVideoComponents", video=[f"{name} file", 0])}


def scored(video: str, reference: str, **settings) -> dict:
    values = dict(recogniser="toy", worst=3, every_frame=True) | settings
    return {
        **generated("video", video),
        "reference": loaded(reference),
        "score": node("SlotIDLikenessScore", frames=["video", 0], reference=["reference", 0], **values),
        "table": node("PreviewAny", source=["score", 3]),
        "curve": node("PreviewImage", images=["score", 1]),
        "worst": node("PreviewImage", images=["score", 2]),
    }


def test_the_curve_falls_where_another_face_is(client, clips, tmp_path):
    result = client.run(scored(clips["bad"], clips["ann"]))
    table = json.loads(result.outputs["table"]["text"][0])
    assert 8 <= table["worst_frame"] < 13 and table["worst"] < table["similarity"] - 0.2
    assert table["detected"] > 0.9 and "toy world" in table["recogniser"]
    shown = result.outputs["score"]
    assert len(shown["images"]) == 4 and "similarity" in shown["text"][0]  # the curve, three frames, the table
    assert len(result.outputs["worst"]["images"]) == 3
    curve = np.asarray(Image.open(client.fetch(result.outputs["curve"]["images"][0], tmp_path)).convert("RGB"))
    assert curve.shape == (300, 960, 3)
    blue = np.abs(curve.astype(int) - (0x1F, 0x6F, 0xB4)).sum(2) < 60
    lowest = [np.flatnonzero(blue[40:, x]).max(initial=0) for x in range(60, 940)]
    assert 8 / 16 - 0.06 < np.argmax(lowest) / 880 < 13 / 16  # the dip is drawn where the other face is


def best(names: list[str], clips: dict, **settings) -> dict:
    videos = {f"video_{place}": [name, 0] for place, name in enumerate(names, 1)}
    return {
        **{key: value for name in names for key, value in generated(name, clips[name]).items()},
        "reference": loaded(clips["ann"]),
        "best": node("SlotIDBestOfSeeds", reference=["reference", 0], recogniser="toy", **videos, **settings),
        "number": node("PreviewAny", source=["best", 1]),
        "table": node("PreviewAny", source=["best", 3]),
        "frames": node("PreviewImage", images=["best", 0]),
    }


def test_the_best_of_seeds_is_the_person(client, clips):
    result = client.run(best(["bob", "good", "bad"], clips))
    assert result.outputs["number"]["text"][0] == "2"
    table = json.loads(result.outputs["table"]["text"][0])
    assert table["best"] == "video_2"
    assert table["video_2"]["with_missing"] > table["video_3"]["with_missing"] > table["video_1"]["with_missing"]
    assert len(result.outputs["frames"]["images"]) == 17


def test_the_best_of_seeds_can_also_follow_the_prompt(client, server, clips, tmp_path):
    """By random networks: what they say is not sense, but each video's score of them is its own."""
    names, prompt = ["bob", "good", "bad"], "a person smiles </s>"
    with pytest.raises(WorkflowError, match=r"nothing can score the prompt.*xclip-base-patch32 was not found"):
        client.run(best(names, clips, prompt=prompt, prompt_weight=0.5))
    with pytest.raises(WorkflowError, match=r"prompt_weight is 0\.5, and prompt is empty"):
        client.run(best(names, clips, prompt_weight=0.5))
    folder = server.base / "models" / "clip_vision"
    shutil.copytree(small_networks(tmp_path), folder, dirs_exist_ok=True)
    try:
        tables = {}
        for weight in (0.25, 1.0):
            result = client.run(best(names, clips, prompt=prompt, prompt_weight=weight))
            tables[weight] = json.loads(result.outputs["table"]["text"][0])
    finally:
        shutil.rmtree(folder)
    for weight, table in tables.items():
        found = [table[f"video_{place}"] for place in (1, 2, 3)]
        likeness, followed, total = (
            np.array([one[key] for one in found]) for key in ("with_missing", "xclip", "total")
        )
        assert np.ptp(followed) > 0
        stretched = [(values - values.min()) / np.ptp(values) for values in (likeness, followed)]
        assert total == pytest.approx((1 - weight) * stretched[0] + weight * stretched[1], abs=1e-3)
        assert table["best"] == f"video_{total.argmax() + 1}"
    networks = Networks([tmp_path])
    for place, name in enumerate(names, 1):
        # As this ComfyUI decodes it: 0.33.0 makes colours out of chroma in another way than PyAV does.
        images = InputImpl.VideoFromFile(str(server.base / "input" / clips[name])).get_components().images
        pixels = frames_of(images)
        expected = networks.figures(pixels, prompt)["video.xclip"]
        assert tables[1.0][f"video_{place}"]["xclip"] == pytest.approx(expected, abs=1e-3)


def gated(video: str, clips: dict, **settings) -> dict:
    values = dict(recogniser="toy", threshold=0.0, below="stop") | settings
    return {
        **generated("video", clips[video]),
        "reference": loaded(clips["ann"]),
        "gate": node("SlotIDLikenessGate", frames=["video", 0], reference=["reference", 0], **values),
        "passed": node("PreviewAny", source=["gate", 2]),
        "frames": node("PreviewImage", images=["gate", 0]),
    }


def test_the_gate_lets_the_person_through_and_stops_another(client, clips):
    passed = client.run(gated("good", clips))
    assert passed.outputs["passed"]["text"][0] == "True" and len(passed.outputs["frames"]["images"]) == 17
    with pytest.raises(WorkflowError, match=r"The likeness is -?0\.\d\d, below 0\.\d\d \(toy\)\. Try another seed"):
        client.run(gated("bob", clips))
    warned = client.run(gated("bob", clips, below="warn"))
    assert warned.outputs["passed"]["text"][0] == "False" and len(warned.outputs["frames"]["images"]) == 17
    assert client.run(gated("bad", clips, threshold=0.01)).outputs["passed"]["text"][0] == "True"


def test_a_recogniser_that_is_not_there_is_named_on_the_node(client, clips):
    with pytest.raises(WorkflowError, match=r"SlotIDLikenessScore.*curricular cannot run: .* was not found"):
        client.run(scored(clips["good"], clips["ann"], recogniser="curricular"))


@pytest.mark.skipif(not REAL.is_dir(), reason="no real clips beside the repository")
def test_a_real_clip_is_its_own_person_and_nobody_elses(client):
    """Through the recogniser that installs with a package."""
    pytest.importorskip("dlib")
    own, other = (client.upload(REAL / "faces" / name) for name in ("d0.mp4", "d10.mp4"))
    tables = {}
    for name, reference in (("own", own), ("other", other)):
        graph = scored(own, reference, recogniser="dlib", every_frame=False)
        graph["reference"] = loaded(reference, frames=5)
        tables[name] = json.loads(client.run(graph).outputs["table"]["text"][0])
    assert tables["own"]["similarity"] > 0.95 and tables["other"]["similarity"] < 0.93
    assert tables["own"]["detected"] == tables["other"]["detected"] == 1.0
