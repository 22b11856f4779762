"""ST-DRC through a real server: every node, what must be exact, and bad input."""

import copy
import json
from pathlib import Path

import av
import pytest
import torch
from graphs import applied, base_graph, node, person

from slotid_core.comfy_client import WorkflowError

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows" / "api"
TOY = "toy_world_random"


def st_drc_graph(color=0xC08060, size=64, pictures=1, lora=1.0, model=("model", 0), **settings) -> dict:
    """A base graph whose sampler gets a person by ST-DRC; sampled by core's KSampler."""
    values = dict(scale=1.0, start_percent=0.0, end_percent=1.0, conditionings="positive") | settings
    return base_graph(model=("apply", 0)) | {
        "picture": node("EmptyImage", width=size, height=64, batch_size=pictures, color=color),
        "adapter": node("STDRCLoadAdapter", adapter_name=TOY),
        "with lora": node("STDRCApplyLoRA", model=list(model), adapter=["adapter", 0], lora_strength=lora),
        "person": node("STDRCEncodeReference", vae=["model", 2], pictures=["picture", 0], width=64, height=64),
        "apply": node(
            "STDRCApply", model=["with lora", 0], adapter=["adapter", 0], person=["person", 0], **values
        ),
    }  # fmt: skip


def test_the_workflow_gives_a_video(client, tmp_path):
    workflow = json.loads((WORKFLOWS / "st_drc_text_to_video.json").read_text())
    for entry in workflow.values():
        for key, value in (("steps", 2), ("length", 9)):
            if key in entry["inputs"]:
                entry["inputs"][key] = value
    (entry,) = [file for file in client.run(workflow).files() if file["filename"].endswith(".mp4")]
    with av.open(str(client.fetch(entry, tmp_path))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 9


def test_scale_zero_and_a_bypass_are_the_graph_without_the_node(latents):
    base = latents(base_graph())
    assert torch.equal(latents(st_drc_graph(lora=0.0, scale=0.0)), base)
    bypassed = st_drc_graph()
    bypassed["sample"]["inputs"]["model"] = ["with lora", 0]
    with_lora = latents(bypassed)
    assert torch.equal(latents(st_drc_graph(scale=0.0)), with_lora) and not torch.equal(with_lora, base)
    whole = latents(st_drc_graph())
    assert (whole - with_lora).abs().max() > 1e-2
    assert not torch.equal(latents(st_drc_graph(color=0x3060C0)), whole)
    assert not torch.equal(latents(st_drc_graph(pictures=2)), whole)
    assert torch.equal(latents(base_graph()), base)


def test_a_person_saved_and_loaded_gives_the_same(client, server, latents):
    graph = st_drc_graph(size=96)
    expected = latents(graph)
    graph["keep"] = node("STDRCSavePerson", person=["person", 0], name="ann", replace=True)
    graph["look"] = node("PreviewImage", images=["person", 1])
    client.run(copy.deepcopy(graph))
    assert (server.base / "models/st_drc/people/ann.safetensors").is_file()
    loaded = st_drc_graph()
    loaded["person"] = node("STDRCLoadPerson", person_name="ann.safetensors")
    del loaded["picture"]
    assert torch.equal(latents(loaded), expected)


def test_beside_a_slot_id_identity(latents):
    graph = st_drc_graph(model=("slot", 0)) | person("ann", 0xC08060)
    slot_id_adapter = graph.pop("adapter")  # `person` names its own so
    graph["slot adapter"], graph["adapter"] = slot_id_adapter, st_drc_graph()["adapter"]
    for entry in graph.values():
        if entry["class_type"].startswith("SlotID") and entry["inputs"].get("adapter") == ["adapter", 0]:
            entry["inputs"]["adapter"] = ["slot adapter", 0]
    graph["slot"] = applied("ann")
    both = latents(graph)
    assert torch.isfinite(both).all()
    assert not torch.equal(both, latents(st_drc_graph()))


@pytest.mark.parametrize(
    ("name", "inputs", "said"),
    [
        ("picture", {"batch_size": 17}, "at most 16"),
        ("apply", {"start_percent": 0.8, "end_percent": 0.2}, "lies behind end_percent"),
        ("adapter", {"adapter_name": "none.safetensors"}, "none.safetensors"),
    ],
)
def test_bad_input_is_one_sentence_at_the_node(client, name, inputs, said):
    graph = st_drc_graph()
    graph[name]["inputs"].update(inputs)
    with pytest.raises(WorkflowError, match=said):
        client.run(graph)


def test_every_node_is_used_above(client):
    registered = {name for name in client.object_info() if name.startswith("STDRC")}
    used = {entry["class_type"] for entry in st_drc_graph().values()}
    elsewhere = {"STDRCSavePerson", "STDRCLoadPerson", "STDRCCropFace"}  # the last one in test_stand_in
    assert registered == {name for name in used if name.startswith("STDRC")} | elsewhere
