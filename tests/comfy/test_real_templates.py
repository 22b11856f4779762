"""The templates for real Wan models, through a server that has tiny models: the files that they name are exchanged."""

import json
from pathlib import Path

import av
import pytest
from graphs import node
from PIL import Image

from slotid_core.comfy_client import WorkflowError
from slotid_core.wan.sampling import noise_levels

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
NEED_AN_ADAPTER = ("slot_id_wan_14b", "slot_id_wan_1_3b", "slot_id_wan_i2v_14b", "slot_id_wan_2_2_14b")
NAMES = (*NEED_AN_ADAPTER, "lynx_two_people_wan_14b", "lynx_small_face_wan_14b")
TOY = "toy_world_random"
QUICK = {"steps": 4, "length": 9, "width": 64, "height": 64, "num_frames": 17, "start_at_step": 2, "end_at_step": 2}
WHOLE = (("start_at_step", 0), ("end_at_step", 10000))  # the two ends of sampling stay
TINY = {
    "LynxFaceEmbedding": {"face_encoder": TOY, "on_missing": "skip"},
    "LynxLoadAdapter": {"id_layers": TOY, "resampler": TOY, "ref_layers": TOY},
    "SlotIDLoadAdapter": {"adapter_name": TOY},
    "SlotIDLoadReferenceVideo": {"file": "slotid_examples/person_1000015.mp4"},
    "VAELoader": {"vae_name": "tiny_vae.safetensors"},
}


def api(name: str) -> dict:
    return json.loads((WORKFLOWS / "api" / f"{name}.json").read_text())


def with_tiny_models(workflow: dict) -> dict:
    """The workflow with the files of a machine that has none of its models."""
    for number, entry in list(workflow.items()):
        inputs, kind = entry["inputs"], entry["class_type"]
        inputs.update(TINY.get(kind, {}))
        if kind == "UNETLoader":
            inputs["unet_name"] = "tiny_i2v.safetensors" if "i2v" in inputs["unet_name"] else "tiny_t2v.safetensors"
        if kind == "CLIPLoader":
            workflow[number] = node("SlotIDLoadToyWorld", weights="random")
            text_encoder = number
        for key, value in QUICK.items():
            if isinstance(inputs.get(key), int) and (key, inputs[key]) not in (
                ("start_at_step", 0),
                ("end_at_step", 10000),
            ):
                inputs[key] = value
    for number in [number for number, entry in workflow.items() if entry["class_type"].startswith("CLIPVision")]:
        del workflow[number]  # no tiny one is here, and Wan's own node goes without
    for entry in workflow.values():
        for key, value in list(entry["inputs"].items()):
            if value == [text_encoder, 0]:
                entry["inputs"][key] = [text_encoder, 1]
            if isinstance(value, list) and value[0] not in workflow:
                del entry["inputs"][key]
    return workflow


def upload_pictures(client, workflow: dict, folder: Path) -> None:
    for entry in workflow.values():
        if entry["class_type"] == "LoadImage":
            Image.effect_noise((96, 128), 60).convert("RGB").save(folder / entry["inputs"]["image"])
            client.upload(folder / entry["inputs"]["image"])


@pytest.mark.parametrize("name", NAMES)
def test_gives_a_video(client, tmp_path, name):
    workflow = with_tiny_models(api(name))
    upload_pictures(client, workflow, tmp_path)
    (entry,) = [file for file in client.run(workflow).files() if file["filename"].endswith(".mp4")]
    with av.open(str(client.fetch(entry, tmp_path))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 9


@pytest.mark.parametrize("name", NEED_AN_ADAPTER)
def test_one_that_needs_an_adapter_says_so_first(client, tmp_path, name):
    notes = [n["widgets_values"][0] for n in graph_of(name)["nodes"] if n["type"] == "MarkdownNote"]
    assert [note.splitlines()[0].startswith("## Needs your adapter") for note in notes] == [True]
    named = {number: dict(entry["inputs"]) for number, entry in api(name).items()}
    workflow = with_tiny_models(api(name))
    upload_pictures(client, workflow, tmp_path)
    for number, entry in workflow.items():
        if "adapter_name" in entry["inputs"]:
            entry["inputs"]["adapter_name"] = named[number]["adapter_name"]
    with pytest.raises(WorkflowError, match=r"wan_\w+\.safetensors"):
        client.run(workflow)


@pytest.mark.parametrize("name", NAMES)
def test_every_model_file_can_be_fetched(name):
    """As core's templates have it: name, address and folder on the node whose widget holds the name."""
    graph = graph_of(name)
    for entry in graph["nodes"]:
        models = {model["name"]: model for model in entry.get("properties", {}).get("models", [])}
        for value in entry.get("widgets_values", []):
            if str(value).endswith(".safetensors") and entry["type"] != "SlotIDLoadAdapter":
                assert (
                    models[value]["url"].endswith(f"/{models[value]['directory']}/{value}")
                    or "Kijai" in models[value]["url"]
                )


def test_the_experts_hand_over_where_wan_2_2_does():
    """Its authors take the second below a noise level of 0.875, at shift 12."""
    nodes = api("slot_id_wan_2_2_14b")
    high, low = (nodes[number]["inputs"] for number in ("16", "30"))
    assert high["end_at_step"] == low["start_at_step"]
    levels = noise_levels(high["steps"], nodes["25"]["inputs"]["shift"])
    assert levels[high["end_at_step"] - 1] >= 0.875 > levels[high["end_at_step"]]
    assert nodes["27"]["inputs"]["shift"] == nodes["25"]["inputs"]["shift"]


def graph_of(name: str) -> dict:
    return json.loads((WORKFLOWS / f"{name}.json").read_text())
