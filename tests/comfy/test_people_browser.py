"""The page's browser of people: what files say of themselves; changing one loses nothing and leads nowhere else."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests
import torch
from graphs import node
from PIL import Image

from slotid_core.systems.st_drc.person import Person

CATEGORY = "st_drc_people"
HOSTILE = ["../outside", "a/../../outside", "/tmp/outside", "", ".", "CON", "a\0b", "x" * 300, "sub/ann"]


@pytest.fixture
def ask(client):
    def ask(action: str = "", status: int = 200, **asked):
        url = f"http://{client.address}/slotid/people/{CATEGORY}"
        answer = requests.post(f"{url}/{action}", json=asked, timeout=60) if action else requests.get(url, timeout=60)
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask


@pytest.fixture
def folder(server):
    folder = server.base / "models" / "st_drc" / "people"
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    Person(torch.randn(1, 16, 1, 8, 8), {"pictures": 1}).save(folder / "ann.safetensors")
    return folder


def names(ask) -> list[str]:
    return [person["name"] for person in ask()["people"]]


def test_a_saved_person_is_listed_with_picture_and_provenance(client, ask, folder):
    picture = node("EmptyImage", width=300, height=200, batch_size=1, color=0xFF0000)
    client.run(
        {
            "picture": picture,
            "model": node("SlotIDLoadToyWorld", weights="random"),
            "made": node("STDRCEncodeReference", vae=["model", 2], pictures=["picture", 0], width=64, height=64),
            "save": node(
                "STDRCSavePerson", person=["made", 0], name="red", replace=True, consent="yes", picture=["picture", 0]
            ),
        }
    )
    people = {person["name"]: person for person in ask()["people"]}
    red = people["red.safetensors"]
    assert red["ours"] and red["provenance"]["consent"] == "yes"
    shown = Image.open(io.BytesIO(base64.b64decode(red["picture"].partition(",")[2])))
    assert min(shown.size) == 128 and np.asarray(shown)[5, 5, 0] > 200
    assert "picture" not in people["ann.safetensors"]


def test_rename_duplicate_and_delete_lose_nothing(ask, folder):
    before = (folder / "ann.safetensors").read_bytes()
    assert ask("duplicate", name="ann.safetensors")["name"] == "ann_2.safetensors"
    assert ask("rename", name="ann_2.safetensors", to="bob")["name"] == "bob.safetensors"
    assert names(ask) == ["ann.safetensors", "bob.safetensors"]
    assert "already" in ask("rename", 400, name="bob.safetensors", to="ann")["error"]
    kept = ask("delete", name="ann.safetensors")["name"]
    assert names(ask) == ["bob.safetensors"] and (folder / kept).read_bytes() == before
    assert (folder / "bob.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_leads_elsewhere(ask, folder, server, name):
    outside = sorted(path for path in server.base.rglob("*outside*"))
    ask("rename", 400, name="ann.safetensors", to=name)
    if name:  # without a name a copy gets that of the original
        ask("duplicate", 400, name="ann.safetensors", to=name)
    ask("delete", 400, name=name)
    assert sorted(path.name for path in folder.iterdir()) == ["ann.safetensors"]
    assert sorted(path for path in server.base.rglob("*outside*")) == outside


def test_clients_that_act_at_once_take_no_name_twice(ask, folder):
    with ThreadPoolExecutor(8) as clients:
        made = list(clients.map(lambda _: ask("duplicate", name="ann.safetensors", to="bob")["name"], range(16)))
    assert len(set(made)) == 16 and set(names(ask)) == {"ann.safetensors", *made}


HOSTILE_FACTS = [
    {"picture": "http://other.example/seen.jpg", "report": "[" * 100_000},
    {"picture": 5, "provenance": {"made": 5, "sources": None, "consent": ["x"]}, "report": 5},
    {"provenance": {"sources": [None, {"name": {"a": 1}}]}, "report": "[]"},
    {"provenance": "text"},
]


@pytest.mark.parametrize("facts", HOSTILE_FACTS)
def test_a_file_that_says_something_odd_is_listed_and_asks_the_page_for_nothing(ask, folder, facts):
    Person(torch.randn(1, 16, 1, 8, 8), facts).save(folder / "odd.safetensors")
    (odd,) = [person for person in ask()["people"] if person["name"] == "odd.safetensors"]
    assert "picture" not in odd and odd["verdict"] == ""
    told = odd.get("provenance", {})
    assert all(isinstance(told.get(key, ""), str) for key in ("made", "consent"))
    assert all(isinstance(source["name"], str) for source in told.get("sources", []))


def test_a_dropped_file_is_looked_at_first(client, ask, folder):
    url = f"http://{client.address}/slotid/people/{CATEGORY}"
    content = (folder / "ann.safetensors").read_bytes()

    def drop(name: str, content: bytes, **headers):
        return requests.post(url, files={"file": (name, content)}, headers=headers, timeout=60)

    assert drop("../eve.safetensors", content, **{"X-SlotID": "add"}).json() == {"name": "eve.safetensors"}
    refused = drop("bad.safetensors", content[:100], **{"X-SlotID": "add"}).json()["error"]
    assert "bad.safetensors" in refused and "cannot be read" in refused
    assert drop("form.safetensors", content).status_code == 403  # what a page of another site could send
    assert requests.post(f"{url}/delete", data='{"name": "ann.safetensors"}', timeout=60).status_code == 415
    assert names(ask) == ["ann.safetensors", "eve.safetensors"]


def test_what_comes_with_the_pack_is_shown_and_not_changed(client):
    url = f"http://{client.address}/slotid/people/slotid_identities"
    shipped = [person for person in requests.get(url, timeout=60).json()["people"] if not person["ours"]]
    assert shipped and all(person["model"]["model_width"] for person in shipped)
    answer = requests.post(f"{url}/delete", json={"name": shipped[0]["name"]}, timeout=60)
    assert answer.status_code == 400 and "Duplicate it" in answer.json()["error"]
    assert requests.get(f"http://{client.address}/slotid/people/checkpoints", timeout=60).status_code == 400
