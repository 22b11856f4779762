"""LaVieID through a real server: every node, what must be exact, and bad input."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import av
import pytest
import torch
from graphs import base_graph, node

from slotid_core.comfy_client import WorkflowError
from slotid_core.dataset.config import PrepareConfig, ToyWorldSource
from slotid_core.dataset.models import Encoders
from slotid_core.dataset.tensors import TensorMaker
from slotid_core.reference.decode.clip import read_clip
from slotid_core.reference.faces.face_clip import make_face_clip
from slotid_core.systems.lavie_id import save_adapter
from slotid_core.systems.lavie_id.config import LoRAConfig
from slotid_core.systems.lavie_id.random_checkpoints import ENCODER, random_adapter
from slotid_core.toy_world.random_checkpoints import DEPTH, WIDTH
from slotid_core.wan.lora import new_lora

EXAMPLES = Path(__file__).resolve().parents[2] / "example_people"
WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows" / "api"
TOY = "toy_world_random"


def lavie_graph(person=1000015, pictures=1, **settings) -> dict:
    """A base graph whose sampler gets an example person by LaVieID; sampled by core's KSampler."""
    values = dict(scale=1.0, start_percent=0.0, end_percent=1.0, conditionings="positive") | settings
    return base_graph(model=("apply", 0)) | {
        "clip": node(
            "SlotIDLoadReferenceVideo", file=f"slotid_examples/person_{person}.mp4", num_frames=pictures,
            start_seconds=0.0, sample_rate=0.0, short_side=480, decoder="auto", window="at start_seconds",
        ),
        "adapter": node("LaVieIDLoadAdapter", adapter_name=TOY),
        "person": node(
            "LaVieIDEncodePerson", adapter=["adapter", 0], pictures=["clip", 0], detector="auto", on_missing="error",
            face_encoder="none",
        ),
        "apply": node(
            "LaVieIDApply", model=["model", 0], adapter=["adapter", 0], person=["person", 0], **values
        ),
    }  # fmt: skip


def test_the_workflow_gives_a_video_and_its_maps(client, tmp_path):
    workflow = json.loads((WORKFLOWS / "lavie_id_text_to_video.json").read_text())
    for entry in workflow.values():
        for key, value in (("steps", 2), ("length", 9)):
            if key in entry["inputs"]:
                entry["inputs"][key] = value
    files = client.run(workflow).files()
    (entry,) = [file for file in files if file["filename"].endswith(".mp4")]
    with av.open(str(client.fetch(entry, tmp_path))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 9
    assert sum(file["filename"].endswith(".png") for file in files) == 1 + 9


def test_scale_zero_and_a_bypass_are_the_graph_without_the_node(latents):
    base = latents(base_graph())
    assert torch.equal(latents(lavie_graph(scale=0.0)), base)
    whole = latents(lavie_graph())
    assert (whole - base).abs().max() > 1e-3
    assert not torch.equal(latents(lavie_graph(person=1009993)), whole)
    assert torch.equal(latents(base_graph()), base)


def test_a_person_saved_and_loaded_gives_the_same(client, server, latents):
    graph = lavie_graph(pictures=3)
    expected = latents(graph)
    graph["keep"] = node("LaVieIDSavePerson", person=["person", 0], name="ann", replace=True)
    client.run(copy.deepcopy(graph))
    assert (server.base / "models/lavie_id/people/ann.safetensors").is_file()
    loaded = lavie_graph()
    loaded["person"] = node("LaVieIDLoadPerson", person_name="ann.safetensors")
    del loaded["clip"]
    assert torch.equal(latents(loaded), expected)


def test_people_joined_into_one(latents):
    def two_people(**joined) -> dict:
        graph = lavie_graph()
        graph["other clip"], graph["other"] = copy.deepcopy(graph["clip"]), copy.deepcopy(graph["person"])
        graph["other clip"]["inputs"]["file"] = "slotid_examples/person_1009991.mp4"
        graph["other"]["inputs"]["pictures"] = ["other clip", 0]
        graph["apply"]["inputs"]["person"] = ["joined", 0]
        return graph | joined

    def mix(weight: float) -> dict:
        return two_people(joined=node("LaVieIDMixPeople", first=["person", 0], second=["other", 0], weight=weight))

    assert torch.equal(latents(mix(0.0)), latents(lavie_graph()))
    assert torch.equal(latents(mix(1.0)), latents(lavie_graph(person=1009991)))
    merge = two_people(joined=node("LaVieIDMergePeople", first=["person", 0], second=["other", 0]))
    assert torch.allclose(latents(merge), latents(mix(0.5)), atol=1e-4)


def test_masks_stand_for_the_parsing_and_a_hidden_component_is_left_out(client, latents):
    """Six equal masks, and a plain picture without a face."""
    graph = lavie_graph()
    graph["clip"] = node("EmptyImage", width=64, height=64, batch_size=1, color=0xC08060)
    graph["person"]["inputs"]["on_missing"] = "skip"
    graph["mask"] = node("SolidMask", value=0.9, width=64, height=64)
    graph["none"] = node("SolidMask", value=0.0, width=64, height=64)
    graph["two"] = node("ImageToMask", image=["many", 0], channel="red")
    graph["mask picture"] = node("MaskToImage", mask=["mask", 0])
    graph["none picture"] = node("MaskToImage", mask=["none", 0])
    graph["five"] = node("RepeatImageBatch", image=["none picture", 0], amount=5)
    graph["many"] = node("ImageBatch", image1=["mask picture", 0], image2=["five", 0])
    graph["person"]["inputs"]["masks"] = ["two", 0]
    graph["report"] = node("PreviewAny", source=["person", 2])
    result = client.run(copy.deepcopy(graph))
    report = json.loads(result.outputs["report"]["text"][0])
    assert report["shown"] == ["brows"] and report["hidden"] == ["eyes", "mouth", "nose", "skin", "hair"]
    assert report["parsing"] == "masks" and any("left out" in note for note in report["notes"])


@pytest.fixture
def reads_faces(server):
    """The name of an adapter whose encoder also reads a face embedding."""
    adapter = random_adapter(WIDTH, DEPTH, encoder=replace(ENCODER, face_width=512))
    path = server.base / "models/lavie_id/reads_faces.safetensors"
    save_adapter(path, adapter.config, dict(adapter.state_dict()))
    return path.name


def test_an_adapter_that_reads_a_face_embedding(client, latents, reads_faces):
    """With the toy world's face recogniser; without one, what is missing is said at the node."""
    graph = lavie_graph()
    graph["adapter"]["inputs"]["adapter_name"] = reads_faces
    graph["person"]["inputs"]["face_encoder"] = "toy_world"
    found = latents(graph)
    assert torch.isfinite(found).all() and (found - latents(base_graph())).abs().max() > 1e-3
    other = copy.deepcopy(graph)
    other["clip"]["inputs"]["file"] = "slotid_examples/person_1009993.mp4"
    assert not torch.equal(latents(other), found)
    graph["person"]["inputs"]["face_encoder"] = "none"
    with pytest.raises(WorkflowError, match="reads a face embedding"):
        client.run(graph)


@pytest.fixture
def has_lora(server):
    """The name of an adapter with a LoRA that changes what the model draws."""
    adapter = random_adapter(WIDTH, DEPTH)
    settings = LoRAConfig(rank=2, alpha=2.0)
    lora = new_lora(settings.layers, settings.rank, settings.alpha, WIDTH, DEPTH)
    lora = {name: tensor if tensor.any() else torch.full_like(tensor, 0.1) for name, tensor in lora.items()}
    path = server.base / "models/lavie_id/with_lora.safetensors"
    save_adapter(path, replace(adapter.config, lora=settings), {**adapter.state_dict(), **lora})
    return path.name


def test_a_lora_has_a_node_of_its_own(client, latents, has_lora):
    """Off, it leaves the MODEL as it was, and Apply LaVieID says so; on, it stays on without a person."""
    graph = lavie_graph()
    graph["adapter"]["inputs"]["adapter_name"] = has_lora
    assert "put Apply LaVieID LoRA before this node" in client.run(graph).outputs["apply"]["slotid_warnings"][0]
    without = latents(graph)
    graph["lora"] = node("LaVieIDApplyLoRA", model=["model", 0], adapter=["adapter", 0], lora_strength=0.0)
    graph["apply"]["inputs"]["model"] = ["lora", 0]
    assert torch.equal(latents(graph), without)
    graph["lora"]["inputs"]["lora_strength"] = 1.0
    assert client.run(graph).outputs["apply"]["slotid_warnings"] == []
    with_lora = latents(graph)
    assert torch.isfinite(with_lora).all() and not torch.equal(with_lora, without)
    graph["apply"]["inputs"]["scale"] = 0.0
    nobody = latents(graph)
    assert not torch.equal(nobody, with_lora) and not torch.equal(nobody, latents(base_graph()))


def test_an_adapter_without_a_lora_says_so(client):
    graph = lavie_graph()
    graph["lora"] = node("LaVieIDApplyLoRA", model=["model", 0], adapter=["adapter", 0], lora_strength=1.0)
    graph["apply"]["inputs"]["model"] = ["lora", 0]
    assert "trained without a LoRA" in client.run(graph).outputs["lora"]["slotid_warnings"][0]


def test_the_node_embeds_a_drawn_face_as_preparation_does(pack_module):
    """The adapter was trained on embeddings of the face's square, with the room around it."""
    encode, faces = pack_module("nodes.lavie_id.encode"), pack_module("nodes.reference.detector")
    path = pack_module("nodes.lavie_id.paths").face_encoder_path("toy_world")
    finder = faces.face_detector("auto")
    frames = read_clip(str(EXAMPLES / "person_1000015.mp4"), 17).frames
    square = make_face_clip(frames, finder, 128, 0.5).clip[:1]
    settings = PrepareConfig(
        vae="toy_world",
        text_encoder="toy_world",
        face_encoder="toy_world",
        toy_world=ToyWorldSource(people=1),
        device="cpu",
    )
    prepared = TensorMaker(settings, Encoders(settings), detector=None)._embedding(square).float()
    for pictures in (frames[:1], square):
        found = encode.face_embedding(pictures, path, finder, "error", in_the_middle=True)
        assert found[0] @ prepared / prepared.norm() > 0.95
    assert encode.face_embedding(frames[:1], path, finder, "error")[0] @ prepared / prepared.norm() < 0.9


def test_the_node_tells_people_apart_by_their_embeddings(pack_module):
    """Two parts of one example clip are more alike than any two people."""
    encode, faces = pack_module("nodes.lavie_id.encode"), pack_module("nodes.reference.detector")
    path = pack_module("nodes.lavie_id.paths").face_encoder_path("toy_world")
    clips = sorted(EXAMPLES.glob("person_*.mp4"))[:3]
    halves = [
        torch.cat([
            encode.face_embedding(
                read_clip(str(clip), 5, start).frames, path, faces.face_detector("auto"), "error", in_the_middle=True
            )
            for clip in clips
        ])
        for start in (0.0, 1.0)
    ]  # fmt: skip
    alike = halves[0] @ halves[1].T
    own = alike.diagonal()
    assert (alike - 2 * torch.eye(len(clips))).max() < own.min(), alike


@pytest.mark.parametrize(
    ("name", "inputs", "said"),
    [
        ("clip", {"num_frames": 17}, "at most 16"),
        ("apply", {"start_percent": 0.8, "end_percent": 0.2}, "lies behind end_percent"),
        ("adapter", {"adapter_name": "none.safetensors"}, "none.safetensors"),
    ],
)
def test_bad_input_is_one_sentence_at_the_node(client, name, inputs, said):
    graph = lavie_graph()
    graph[name]["inputs"].update(inputs)
    with pytest.raises(WorkflowError, match=said):
        client.run(graph)


@pytest.mark.parametrize(
    ("on_missing", "masks", "said"),
    [
        ("error", False, "No face was found"),
        ("skip", False, "No component of the face"),
        ("skip", True, "needed are 6"),
    ],
)
def test_a_picture_without_a_face_is_said(client, on_missing, masks, said):
    graph = lavie_graph()
    graph["clip"] = node("EmptyImage", width=64, height=64, batch_size=1, color=0xFFFFFF)
    graph["person"]["inputs"]["on_missing"] = on_missing
    if masks:
        graph["mask"] = node("SolidMask", value=1.0, width=64, height=64)
        graph["person"]["inputs"]["masks"] = ["mask", 0]
    with pytest.raises(WorkflowError, match=said):
        client.run(graph)


def test_a_person_of_another_adapter_and_latents_of_another_model_are_refused(client):
    graph = lavie_graph()
    graph["maps"] = node(
        "LaVieIDRouterMaps", model=["model", 0], adapter=["adapter", 0], person=["person", 0],
        positive=["positive", 0], samples=["latent", 0], noise_level=0.2, opacity=0.5,
    )  # fmt: skip
    graph["look"] = node("PreviewImage", images=["maps", 0])
    client.run(copy.deepcopy(graph))
    graph["latent"] = node("EmptyLatentImage", width=64, height=64, batch_size=1)
    del graph["save"], graph["sample"]
    with pytest.raises(WorkflowError, match="this MODEL's videos have shape"):
        client.run(graph)


def test_every_node_is_used_above(client):
    registered = {name for name in client.object_info() if name.startswith("LaVieID")}
    used = {entry["class_type"] for entry in lavie_graph().values()}
    elsewhere = {
        "LaVieIDSavePerson",
        "LaVieIDLoadPerson",
        "LaVieIDRouterMaps",
        "LaVieIDMergePeople",
        "LaVieIDMixPeople",
    }
    assert registered >= {name for name in used if name.startswith("LaVieID")} | elsewhere
