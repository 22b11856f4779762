"""The client against a real server: what it says when a workflow is wrong, and what it fetches."""

import threading
import time

import pytest
from graphs import base_graph, node

from slotid_core.comfy_client import WorkflowError

PICTURE = {"width": 32, "height": 32, "batch_size": 1, "color": 0x4080C0}


def picture_graph() -> dict:
    return {
        "picture": node("EmptyImage", **PICTURE),
        "save": node("SaveImage", images=["picture", 0], filename_prefix="client/picture"),
    }


def test_uploads_runs_and_fetches(client, tmp_path):
    from PIL import Image

    source = tmp_path / "blue.png"
    Image.new("RGB", (24, 16), (0x40, 0x80, 0xC0)).save(source)
    name = client.upload(source, subfolder="uploads")
    assert name == "uploads/blue.png"
    graph = picture_graph() | {"picture": node("LoadImage", image=name)}
    (entry,) = client.run(graph).files()
    fetched = client.fetch(entry, tmp_path / "results")
    assert [path.name for path in fetched.parent.iterdir()] == [entry["filename"]]
    with Image.open(fetched) as image:
        assert (image.size, image.getpixel((0, 0))) == ((24, 16), (0x40, 0x80, 0xC0))


def test_unknown_nodes_and_missing_inputs_are_named_before_anything_runs(client):
    with pytest.raises(WorkflowError, match="NoSuchNode"):
        client.run(picture_graph() | {"picture": node("NoSuchNode")})
    with pytest.raises(WorkflowError, match="images") as caught:
        client.run({"save": node("SaveImage", filename_prefix="x")})
    assert (caught.value.node_id, caught.value.node_type) == ("save", "SaveImage")


def test_a_half_valid_workflow_is_refused_and_does_not_stay_in_the_queue(client):
    graph = picture_graph() | {"bad": node("SaveImage", filename_prefix="x")}
    with pytest.raises(WorkflowError, match="images") as caught:
        client.run(graph)
    assert caught.value.node_id == "bad"
    deadline = time.monotonic() + 10
    while client.get("/queue")["queue_running"] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert client.get("/queue") == {"queue_running": [], "queue_pending": []}


def test_an_error_inside_a_node_says_which_and_what(client):
    graph = base_graph()
    graph["positive"] = node("CLIPTextEncode", clip=["model", 1], text="x")
    graph["latent"] = node("LoadLatent", latent="none")
    with pytest.raises(WorkflowError) as caught:
        client.run(graph)
    assert caught.value.node_type == "LoadLatent"


def test_cancel_stops_its_own_workflow_and_no_other(client):
    long = base_graph()
    long["sample"]["inputs"].update(steps=3000, seed=int(time.time()))
    waiting = picture_graph()
    waiting["picture"]["inputs"]["color"] = int(time.time()) & 0xFFFFFF
    results, begun = {}, threading.Event()

    def run_long():
        try:
            client.__class__(client.address).run(long, progress=lambda *event: begun.set())
        except WorkflowError as error:
            results["long"] = str(error)

    thread = threading.Thread(target=run_long)
    thread.start()
    assert begun.wait(120)
    running = client.get("/queue")["queue_running"][0][1]
    unwanted, wanted = client.queue(waiting), client.queue(picture_graph())
    client.cancel(unwanted)
    assert [item[1] for item in client.get("/queue")["queue_running"]] == [running]
    client.cancel(running)
    thread.join(60)
    assert "interrupted" in results["long"]
    deadline = time.monotonic() + 60
    while not client.get(f"/history/{wanted}") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert client.get(f"/history/{wanted}")[wanted]["status"]["status_str"] == "success"
    assert client.get(f"/history/{unwanted}") == {}
