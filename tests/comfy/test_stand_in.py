"""Stand-In through a real server: its template, its file in both folders, what must be exact, and bad files."""

import copy
import json
from pathlib import Path

import av
import pytest
import torch
from graphs import base_graph, node
from PIL import Image
from safetensors.torch import save_file

from slotid_core.comfy_client import WorkflowError
from slotid_core.toy_world.random_checkpoints import DEPTH, WIDTH

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
NAME = "stand_in_wan_14b"
FILE = "Stand-In_small.safetensors"
RANK = 8


def api() -> dict:
    return json.loads((WORKFLOWS / "api" / f"{NAME}.json").read_text())


def published(depth=DEPTH, width=WIDTH) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return {
        f"blocks.{block}.self_attn.{layer}_loras.{part}.weight": torch.randn(shape, generator=generator) * 0.1
        for block in range(depth)
        for layer in "qkv"
        for part, shape in (("down", (RANK, width)), ("up", (width, RANK)))
    }


@pytest.fixture(scope="module", autouse=True)
def file(server):
    """The file, in the toy world's size, where users of other packs have it."""
    path = server.base / "models" / "loras" / FILE
    path.parent.mkdir(exist_ok=True)
    save_file(published(), path)
    return path


def stand_in_graph(file=FILE, side=512, color=0xC08060, **settings) -> dict:
    """A base graph whose sampler gets a person by Stand-In; sampled by core's KSampler."""
    values = dict(scale=1.0, start_percent=0.0, end_percent=1.0, conditionings="positive") | settings
    return base_graph(model=("apply", 0)) | {
        "image": node("EmptyImage", width=160, height=128, batch_size=1, color=color),
        "crop": node("STDRCCropFace", image=["image", 0], detector="auto", on_missing="skip"),
        "adapter": node("STDRCLoadAdapter", adapter_name=file),
        "person": node("STDRCEncodeReference", vae=["model", 2], pictures=["crop", 0], width=side, height=side),
        "apply": node("STDRCApply", model=["model", 0], adapter=["adapter", 0], person=["person", 0], **values),
    }


def test_the_template_gives_a_video(client, server, tmp_path):
    """With the tiny models of a machine that has none of its files."""
    workflow = api()
    small = {
        "steps": 2, "length": 9, "unet_name": "tiny_t2v.safetensors", "vae_name": "tiny_vae.safetensors",
        "adapter_name": FILE, "on_missing": "skip",
    }  # fmt: skip
    for entry in workflow.values():
        for key, value in small.items():
            if key in entry["inputs"]:
                entry["inputs"][key] = value
    workflow["13"]["inputs"].update(width=64, height=64)
    workflow["4"] = node("SlotIDLoadToyWorld", weights="random")
    for number in ("11", "12"):
        workflow[number]["inputs"]["clip"] = ["4", 1]
    Image.effect_noise((96, 128), 60).convert("RGB").save(tmp_path / "person.png")
    client.upload(tmp_path / "person.png")
    (entry,) = [file for file in client.run(workflow).files() if file["filename"].endswith(".mp4")]
    with av.open(str(client.fetch(entry, tmp_path))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 9
    assert f"{3 * DEPTH} of {3 * DEPTH} layers (q, k, v of {DEPTH} blocks)" in server.log.read_text()
    assert "trained with one picture" not in server.log.read_text()


def test_download_locations_are_in_the_template():
    graph = json.loads((WORKFLOWS / f"{NAME}.json").read_text())
    found = {}
    for entry in graph["nodes"]:
        for model in entry.get("properties", {}).get("models", []):
            assert model["name"] in entry["widgets_values"] and model["url"].endswith(f"/{model['name']}")
            found[entry["type"]] = model["directory"]
    assert found == {
        "UNETLoader": "diffusion_models",
        "CLIPLoader": "text_encoders",
        "VAELoader": "vae",
        "STDRCLoadAdapter": "st_drc",
    }


def test_scale_zero_and_a_bypass_are_the_graph_without_the_node(latents, server, file):
    base = latents(base_graph())
    assert torch.equal(latents(stand_in_graph(scale=0.0)), base)
    bypassed = stand_in_graph()
    bypassed["sample"]["inputs"]["model"] = ["model", 0]
    assert torch.equal(latents(bypassed), base)
    whole = latents(stand_in_graph())
    assert (whole - base).abs().max() > 1e-2
    assert not torch.equal(latents(stand_in_graph(color=0x3060C0)), whole)
    own = server.base / "models" / "st_drc" / "of_this_folder.safetensors"
    own.write_bytes(file.read_bytes())
    torch.save({"state_dict": published()}, own.with_suffix(".ckpt"))
    for name in (own.name, "of_this_folder.ckpt"):
        assert torch.equal(latents(stand_in_graph(name)), whole), "whatever its name, folder or kind of file"
    assert torch.equal(latents(base_graph()), base)


def test_the_lora_node_says_that_there_is_nothing_for_it(latents):
    graph = stand_in_graph()
    graph["with lora"] = node("STDRCApplyLoRA", model=["model", 0], adapter=["adapter", 0], lora_strength=1.0)
    expected = latents(graph)
    graph["apply"]["inputs"]["model"] = ["with lora", 0]
    assert torch.equal(latents(graph), expected)


def test_a_person_saved_and_loaded_gives_the_same(client, server, latents):
    graph = stand_in_graph()
    expected = latents(graph)
    graph["keep"] = node("STDRCSavePerson", person=["person", 0], name="stood in", replace=True)
    client.run(copy.deepcopy(graph))
    loaded = stand_in_graph()
    loaded["person"] = node("STDRCLoadPerson", person_name="stood in.safetensors")
    del loaded["image"], loaded["crop"]
    assert torch.equal(latents(loaded), expected)


def test_bad_files_are_one_sentence_at_the_node(client, server):
    folder = server.base / "models" / "st_drc"
    half = published()
    del half["blocks.1.self_attn.v_loras.up.weight"]
    nan = published()
    nan["blocks.0.self_attn.q_loras.down.weight"][0, 0] = float("nan")
    files = {
        "half": (half, f"Only {6 * DEPTH - 1} of the {6 * DEPTH} tensors"),
        "nan": (nan, "holds NaN"),
        "other": ({"a.lora_A.weight": torch.zeros(2, 2)}, "nor Stand-In's LoRA"),
        "narrow": (published(width=128), "for a video model of width 128"),
        "shallow": (published(depth=DEPTH - 1), f"with {DEPTH - 1} blocks"),
    }
    for name, (tensors, _) in files.items():
        save_file(tensors, folder / f"{name}.safetensors")
    client.object_info()
    for name, (_, said) in files.items():
        with pytest.raises(WorkflowError, match=said):
            client.run(stand_in_graph(f"{name}.safetensors"))
    assert client.run(stand_in_graph()).files()


def test_the_crop_without_a_face(client):
    graph = stand_in_graph()
    graph["crop"]["inputs"]["on_missing"] = "error"
    with pytest.raises(WorkflowError, match="No face was found"):
        client.run(graph)
    graph["image"]["inputs"]["batch_size"] = 2
    with pytest.raises(WorkflowError, match="One picture"):
        client.run(graph)
