"""The trainer's nodes on a real server: drawn people in, an adapter out; interrupted, and resumed from the node."""

import threading
import time

import pytest
from graphs import node

from tools.comfy_client import ComfyClient, WorkflowError

PEOPLE = 3


def prepare_graph(name: str, people: int) -> dict:
    return {
        f"data {name}": node(
            "SlotIDPrepareDataset", source="toy world", path="", name=name, vae="tiny_vae.safetensors",
            text_encoder="tiny_text.safetensors", frames=5, width=64, height=64, subfolders_are_people=False,
            toy_people=people,
        ),
        f"report {name}": node("PreviewAny", source=[f"data {name}", 1]),
    }  # fmt: skip


def train_graph(steps: int, name: str = "trained_here", **settings) -> dict:
    inputs = {
        "preset": "toy_world", "model_name": "tiny_t2v.safetensors", "steps": steps, "learning_rate": 0.001,
        "batch": 2, "micro_batch": 2,
    } | settings  # fmt: skip
    return prepare_graph("train", PEOPLE) | {
        "train": node("SlotIDTrainEncoder", dataset=["data train", 0], name=name, **inputs),
        "curve": node("SaveImage", images=["train", 1], filename_prefix="curve"),
    }


def test_prepare_train_interrupt_resume(client, server, tmp_path):
    result = client.run(prepare_graph("train", PEOPLE))
    assert f'"samples": {2 * PEOPLE}' in result.outputs["report train"]["text"][0]

    # Interrupted while it trains: the child saves and stops, and the server goes on.
    seen: list[int] = []
    began = threading.Event()

    def progress(node_class: str, step: int, steps: int) -> None:
        if node_class == "SlotIDTrainEncoder":
            seen.append(step)
            began.set()

    threading.Thread(target=lambda: (began.wait(200), ComfyClient(server.address).interrupt()), daemon=True).start()
    with pytest.raises(WorkflowError, match="interrupted"):
        client.run(train_graph(steps=100_000), progress)
    folder = server.base / "output" / "slotid" / "training" / "trained_here"
    (checkpoint,) = folder.glob("step_*.safetensors")
    saved = int(checkpoint.stem.removeprefix("step_"))
    assert saved >= 1 and not processes_of(folder)

    # Queued again it goes on from there, and the adapter appears.
    seen.clear()
    result = client.run(train_graph(steps=saved + 3), progress)
    assert seen[0] == saved + 1 and seen[-1] == saved + 3
    adapters = client.get("/object_info/SlotIDLoadAdapter")["SlotIDLoadAdapter"]["input"]["required"]["adapter_name"]
    assert "trained_here.safetensors" in str(adapters)
    (curve,) = result.files()
    assert client.fetch(curve, tmp_path).stat().st_size > 5000


def test_training_says_what_is_wrong(client):
    with pytest.raises(WorkflowError, match="input folder"):
        graph = prepare_graph("bad", 1)
        graph["data bad"]["inputs"] |= {"source": "folder", "path": "../.."}
        client.run(graph)
    with pytest.raises(WorkflowError, match="folder's name"):
        client.run(train_graph(steps=1, name="../outside"))
    with pytest.raises(WorkflowError, match="not a Wan"):
        client.run(train_graph(steps=1, name="wrong_model", model_name="tiny_vae_as_model.safetensors"))


def processes_of(folder) -> list[str]:
    """Command lines of running processes that name a folder."""
    import psutil

    time.sleep(0.5)
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(folder) in line:
            found.append(line)
    return found
