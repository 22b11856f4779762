"""A person's file says what it was made of and who agreed, and so does a video of that person."""

import hashlib
import json

import av
import pytest
from graphs import node

from slotid_core.comfy_client import WorkflowError
from slotid_core.comfy_runtime import PACK
from slotid_core.systems.st_drc.person import Person

CLIP = PACK / "example_people" / "person_1000015.mp4"
AGREED = "Drawn by us; anybody may."


def making() -> dict:
    return {
        "read": node(
            "SlotIDLoadReferenceVideo", file="slotid_examples/person_1000015.mp4", num_frames=1, start_seconds=0.0,
            sample_rate=16.0, short_side=64, decoder="auto",
        ),
        "model": node("SlotIDLoadToyWorld", weights="random"),
        "made": node("STDRCEncodeReference", vae=["model", 2], pictures=["read", 0], width=64, height=64),
    }  # fmt: skip


def filming(person: list, **settings) -> dict:
    return {
        "frames": node("EmptyImage", width=64, height=64, batch_size=5, color=0x804020),
        "video": node("CreateVideo", images=["frames", 0], fps=16.0),
        "note": node("SlotIDNotePerson", video=["video", 0], person=person, **settings),
        "film": node("SaveVideo", video=["note", 0], filename_prefix="noted", format="auto", codec="auto"),
    }


def noted(client, graph: dict, folder) -> dict:
    files = client.run(graph).files()
    (entry,) = [file for file in files if file["filename"].endswith(".mp4")]
    with av.open(str(client.fetch(entry, folder))) as container:
        metadata = container.metadata
    assert "prompt" in metadata  # ComfyUI's own stays
    return json.loads(metadata["slotid"])


@pytest.fixture(scope="module")
def saved(client, server):
    save = node("STDRCSavePerson", person=["made", 0], name="noted", replace=True, consent=AGREED)
    client.run(making() | {"save": save})
    (path,) = (server.base / "models").rglob("noted.safetensors")
    return Person.load(path)


def test_the_file_has_hash_date_and_consent(saved):
    facts = saved.source["provenance"]
    assert facts["consent"] == AGREED and facts["made"]
    assert facts["sources"] == [
        {"name": "slotid_examples/person_1000015.mp4", "sha256": hashlib.sha256(CLIP.read_bytes()).hexdigest()}
    ]


def test_a_video_of_a_loaded_person_says_what_its_file_says(client, saved, tmp_path):
    graph = {"load": node("STDRCLoadPerson", person_name="noted.safetensors")} | filming(["load", 0])
    assert noted(client, graph, tmp_path) == saved.source["provenance"]


def test_a_video_of_a_person_made_in_the_graph_says_what_that_was_made_of(client, saved, tmp_path):
    facts = noted(client, making() | filming(["made", 0], consent="said here"), tmp_path)
    assert facts["sources"] == saved.source["provenance"]["sources"] and facts["consent"] == "said here"


def test_what_is_nobody_is_refused(client):
    with pytest.raises(WorkflowError, match="Connect an identity"):
        client.run({"model": node("SlotIDLoadToyWorld", weights="random")} | filming(["model", 0]))
