"""Lynx through a real server: its shipped workflows, every node, what must be exact, and bad input."""

import copy
import json
import re
from pathlib import Path

import av
import pytest
import torch
from graphs import applied, base_graph, node, person
from PIL import Image
from safetensors.torch import save_file

from slotid_core.comfy_client import WorkflowError

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
NAMES = ("lynx_text_to_video", "lynx_wan_14b")
TOY = "toy_world_random"


def api(name: str) -> dict:
    return json.loads((WORKFLOWS / "api" / f"{name}.json").read_text())


def find(workflow: dict, class_type: str) -> tuple[str, dict]:
    ((number, entry),) = [item for item in workflow.items() if item[1]["class_type"] == class_type]
    return number, entry["inputs"]


def quick(workflow: dict) -> dict:
    for entry in workflow.values():
        for key, value in (("steps", 2), ("length", 9), ("width", 64), ("height", 64)):
            if key in entry["inputs"]:
                entry["inputs"][key] = value
    return workflow


def with_tiny_models(workflow: dict) -> dict:
    """The 14B workflow with the files of a machine that has none of them."""
    find(workflow, "UNETLoader")[1]["unet_name"] = "tiny_t2v.safetensors"
    find(workflow, "VAELoader")[1]["vae_name"] = "tiny_vae.safetensors"
    number, _ = find(workflow, "CLIPLoader")
    workflow[number] = node("SlotIDLoadToyWorld", weights="random")
    for entry in workflow.values():
        for key, value in entry["inputs"].items():
            if value == [number, 0]:
                entry["inputs"][key] = [number, 1]
    find(workflow, "LynxLoadAdapter")[1].update(id_layers=TOY, resampler=TOY, ref_layers=TOY)
    find(workflow, "LynxFaceEmbedding")[1].update(face_encoder=TOY, on_missing="skip")
    return workflow


def lynx_graph(variant="full + ref", model=("model", 0), **settings) -> dict:
    """A base graph whose sampler gets Lynx; sampled by core's KSampler."""
    toy = f"{TOY}_lite" if variant == "lite" else TOY
    graph = base_graph(model=("apply", 0))
    graph["picture"] = node("EmptyImage", width=128, height=128, batch_size=1, color=settings.pop("color", 0xC08060))
    graph["lynx"] = node(
        "LynxLoadAdapter", id_layers=toy, resampler=toy, ref_layers=TOY if "ref" in variant else "none"
    )
    graph["face"] = node(
        "LynxFaceEmbedding", image=["picture", 0], face_encoder=TOY, detector="auto", on_missing="skip"
    )
    values = dict(
        id_scale=1.0, ref_scale=1.0, start_percent=0.0, end_percent=1.0, blocks="all", conditionings="positive"
    )
    graph["apply"] = node("LynxApply", model=list(model), adapter=["lynx", 0], face=["face", 0], **values | settings)
    if "ref" in variant:
        graph["reference"] = node(
            "LynxEncodeReference", model=["model", 0], vae=["model", 2], clip=["model", 1], reference_crop=["face", 1]
        )
        graph["apply"]["inputs"]["reference"] = ["reference", 0]
    return graph


@pytest.mark.parametrize("name", NAMES)
def test_workflow_gives_a_video(client, tmp_path, name):
    workflow = quick(api(name))
    if name == "lynx_wan_14b":
        workflow = with_tiny_models(workflow)
        Image.effect_noise((96, 128), 60).convert("RGB").save(tmp_path / "person.png")
        client.upload(tmp_path / "person.png")
    result = client.run(workflow)
    (entry,) = [file for file in result.files() if file["filename"].endswith(".mp4")]
    with av.open(str(client.fetch(entry, tmp_path))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 9


@pytest.mark.parametrize("variant", ["lite", "full", "full + ref"])
def test_scale_zero_equals_the_graph_without_lynx(latents, variant):
    base = latents(base_graph())
    assert torch.equal(latents(lynx_graph(variant, id_scale=0.0, ref_scale=0.0)), base)
    whole = latents(lynx_graph(variant))
    assert (whole - base).abs().max() > 1e-2
    assert not torch.equal(latents(lynx_graph(variant, color=0x3060C0)), whole)
    if variant == "full + ref":
        assert not torch.equal(latents(lynx_graph(variant, ref_scale=0.0)), whole)


def test_the_frames_of_a_clip_in_place_of_a_picture(client, latents):
    """A clip in which somebody else is to be seen for a moment."""
    graph = lynx_graph()
    del graph["picture"]
    for name, person_seed, count in (("clip", 1000015, 9), ("other", 1009991, 1)):
        graph[name] = node(
            "SlotIDLoadReferenceVideo", file=f"slotid_examples/person_{person_seed}.mp4", num_frames=count,
            start_seconds=0.0, sample_rate=0.0, short_side=256, decoder="auto", window="at start_seconds",
        )  # fmt: skip
    graph["face"]["inputs"].update(image=["clip", 0], face_encoder="toy_world", on_missing="error", moments=4)
    one = copy.deepcopy(graph)
    one["face"]["inputs"].update(reference_pictures=1)
    graph["told"] = node("PreviewAny", source=["face", 3])
    report = json.loads(client.run(copy.deepcopy(graph)).outputs["told"]["text"][0])
    assert report["detector"].endswith("drawn faces") and 1 < len(report["embedding"]["kept"]) <= 4
    assert report["embedding"]["agreement"] > 0.8 and not report["embedding"]["left_out"]
    several, single = latents(graph), latents(one)
    assert not torch.equal(several, single), "more pictures of the clip are seen"
    picture = copy.deepcopy(one)
    picture["face"]["inputs"]["image"] = ["other", 0]
    assert not torch.equal(latents(picture), single)


@pytest.mark.parametrize("order", ["lynx first", "slot-id first"])
def test_beside_a_slot_id_identity(latents, order):
    def both(strength=1.0, scale=1.0):
        first, second = ("model", 0), ("slot", 0)
        if order == "lynx first":
            first, second = ("apply", 0), ("model", 0)
        graph = lynx_graph(model=second, id_scale=scale, ref_scale=scale) | person("ann", 0xC08060)
        graph["slot"] = applied("ann", model=first, strength=strength)
        graph["sample"]["inputs"]["model"] = ["slot" if order == "lynx first" else "apply", 0]
        return latents(graph)

    lynx_alone = latents(lynx_graph())
    assert torch.equal(both(strength=0.0), lynx_alone)
    assert not torch.equal(both(), lynx_alone)


def test_reference_saved_and_loaded_gives_the_same(client, server, latents):
    graph = lynx_graph()
    expected = latents(graph)
    graph["keep"] = node("LynxSaveReference", reference=["reference", 0], name="ann", replace=True)
    client.run(copy.deepcopy(graph))
    assert (server.base / "models/lynx/references/ann.safetensors").is_file()
    loaded = lynx_graph()
    loaded["reference"] = node("LynxLoadReference", reference_name="ann.safetensors")
    assert torch.equal(latents(loaded), expected)


def test_faces_and_references_joined_into_one(latents):
    def two_people(**joined) -> dict:
        graph = lynx_graph("full") | joined
        graph["other picture"] = node("EmptyImage", width=128, height=128, batch_size=1, color=0x3060C0)
        graph["other"] = node("LynxFaceEmbedding", **graph["face"]["inputs"] | {"image": ["other picture", 0]})
        graph["apply"]["inputs"]["face"] = ["joined", 0]
        return graph

    def mix(weight: float) -> dict:
        return node("LynxMixFaces", first=["face", 0], second=["other", 0], weight=weight)

    ann, bob = latents(lynx_graph("full")), latents(lynx_graph("full", color=0x3060C0))
    assert torch.equal(latents(two_people(joined=mix(0.0))), ann)
    assert torch.equal(latents(two_people(joined=mix(1.0))), bob)
    merge = latents(two_people(joined=node("LynxMergeFaces", first=["face", 0], second=["other", 0])))
    assert torch.allclose(merge, latents(two_people(joined=mix(0.5))), atol=1e-4)

    twice = lynx_graph()
    twice["both"] = node("LynxMergeReferences", first=["reference", 0], second=["reference", 0])
    twice["apply"]["inputs"]["reference"] = ["both", 0]
    # Attention to the same tokens twice gives the same.
    assert torch.allclose(latents(twice), latents(lynx_graph()), atol=1e-3)


def test_nothing_stays_on_the_model_after_an_interrupt_and_an_error(client, latents):
    graph = base_graph()
    base = latents(graph)
    with pytest.raises(WorkflowError, match="Blocks '99'"):
        client.run(lynx_graph(blocks="99"))
    long, stopped = lynx_graph(), []
    long["sample"]["inputs"].update(steps=2000, seed=11)

    def stop(node_class, step, steps):
        if node_class == "KSampler" and not stopped:
            stopped.append(step)
            client.interrupt()

    with pytest.raises(WorkflowError, match="interrupted"):
        client.run(long, progress=stop)
    graph["sample"]["inputs"]["steps"] = 4
    latents(graph)  # so that the next run is sampled and not taken from the cache
    assert torch.equal(latents(base_graph()), base)


def test_log_says_how_many_layers_matched(client, server):
    client.run(lynx_graph("lite"))
    client.run(lynx_graph())
    log = server.log.read_text()
    assert "Lynx: lite ID adapter on 3 of 5 blocks" in log
    assert "Lynx: full ID adapter on 5 of 5 blocks, Ref adapter on 5 of 5 blocks" in log


def test_bad_files_and_wiring_are_explained(client, server):
    folder = server.base / "models" / "lynx"
    folder.mkdir(exist_ok=True)
    save_file({"blocks.0.cross_attn.k.weight": torch.zeros(2, 2)}, folder / "lora.safetensors")
    (folder / "cut.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")

    def graph(**files):
        changed = lynx_graph("full")
        changed["lynx"]["inputs"].update(files)
        return changed

    mixed = graph(resampler=f"{TOY}_lite")
    unwired = lynx_graph("full")
    del unwired["apply"]["inputs"]["face"]
    surplus = lynx_graph("full + ref")
    surplus["lynx"]["inputs"]["ref_layers"] = "none"
    strict = lynx_graph("full")
    strict["face"]["inputs"]["on_missing"] = "error"
    for bad, said in (
        (graph(id_layers="lora.safetensors"), "No layer of Lynx's ID adapter"),
        (graph(ref_layers="lora.safetensors"), "No layer of Lynx's Ref adapter"),
        (graph(id_layers="cut.safetensors"), "damaged or not finished"),
        (graph(resampler="lora.safetensors"), "no Lynx resampler"),
        (mixed, "full ID layers take 256"),
        (unwired, "need a face"),
        (surplus, "no Ref layers"),
        (strict, "No face was found"),
    ):
        with pytest.raises(WorkflowError, match=re.escape(said)):
            client.run(bad)
    assert client.run(lynx_graph("full")).files()


def test_download_locations_are_in_the_template():
    """As core's templates have them: name, address and folder on the node whose widget holds the name."""
    graph = json.loads((WORKFLOWS / "lynx_wan_14b.json").read_text())
    found = {}
    for entry in graph["nodes"]:
        for model in entry.get("properties", {}).get("models", []):
            assert model["name"] in entry["widgets_values"] and model["url"].endswith(f"/{model['name']}")
            found[model["name"]] = model["directory"]
    assert sorted(set(found.values())) == ["diffusion_models", "facexlib", "lynx", "text_encoders", "vae"]
    assert list(found.values()).count("lynx") == 3


def test_every_node_is_used_above(client):
    registered = {name for name in client.object_info() if name.startswith("Lynx")}
    assert registered == {entry["class_type"] for name in NAMES for entry in api(name).values()} & registered | {
        "LynxLoadReference",
        "LynxMergeFaces",
        "LynxMixFaces",
        "LynxMergeReferences",
    }
