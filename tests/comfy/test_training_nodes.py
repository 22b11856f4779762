"""The trainer's nodes on a real server: drawn people in, an adapter out; interrupted, and resumed from the node."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from graphs import base_graph, node

from slotid_core.comfy_client import ComfyClient, WorkflowError
from slotid_core.training.config import read_config

PEOPLE = 3
STEPS = 200


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
        client.run(train_graph(steps=STEPS), progress)
    folder = server.base / "output" / "slotid" / "training" / "trained_here"
    (checkpoint,) = folder.glob("step_*.safetensors")
    saved = int(checkpoint.stem.removeprefix("step_"))
    assert saved >= 1 and not processes_of(folder)

    # Queued again it goes on from there, and the adapter appears.
    seen.clear()
    with pytest.raises(WorkflowError, match=rf"run.steps was {STEPS} and is {STEPS - 1} now.*another name"):
        client.run(train_graph(steps=STEPS - 1), progress)
    result = client.run(train_graph(steps=STEPS), progress)
    assert seen[0] == saved + 1 and seen[-1] == STEPS
    adapters = client.get("/object_info/SlotIDLoadAdapter")["SlotIDLoadAdapter"]["input"]["required"]["adapter_name"]
    assert "trained_here.safetensors" in str(adapters)
    (curve,) = result.files()
    assert client.fetch(curve, tmp_path).stat().st_size > 5000


def test_training_says_what_is_wrong(client):
    with pytest.raises(WorkflowError, match="input folder"):
        graph = prepare_graph("bad", 1)
        graph["data bad"]["inputs"] |= {"source": "folder", "path": "../.."}
        client.run(graph)
    with pytest.raises(WorkflowError, match="adapter's name"):
        client.run(train_graph(steps=1, name="../outside"))
    with pytest.raises(WorkflowError, match="not a Wan"):
        client.run(train_graph(steps=1, name="wrong_model", model_name="tiny_vae_as_model.safetensors"))


@pytest.mark.slow
def test_a_temporal_module_is_trained_and_refines_what_was_sampled(client, latents, tmp_path):
    """The trained file has no socket on the node: it is found by its own loader."""
    graph = train_graph(2, "frames_agree", preset="toy_world_lavie_id_temporal")
    graph["train"]["inputs"] |= {"system": "lavie_id_temporal", "validation": ["data train", 0]}
    graph["data train"]["inputs"] |= {"name": "of any system", "toy_people": 2}
    (curve,) = client.run(graph).files()
    assert client.fetch(curve, tmp_path).stat().st_size > 5000
    base = base_graph()
    trained = base | {
        "module": node("LaVieIDLoadTemporal", module_name="frames_agree.safetensors"),
        "refine": node(
            "LaVieIDRefineLatents", samples=["sample", 0], temporal=["module", 0], strength=1.0, chunk_frames=0
        ),
        "save": node("SaveLatent", samples=["refine", 0], filename_prefix="latents/refined"),
    }
    before, after = latents(base), latents(trained)
    assert before.shape == after.shape and not torch.equal(before, after)


@pytest.fixture
def training(pack_module, tmp_path, monkeypatch):
    """The nodes with a child process that only writes down what it was asked for."""
    import folder_paths

    prepare, train = (pack_module(f"nodes.training.{name}") for name in ("prepare", "train"))
    (tmp_path / "input" / "people").mkdir(parents=True)
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    asked = []

    def run_module(name, arguments, on_event):
        config = Path(arguments[arguments.index("--config") + 1]).read_text()
        asked.append((config, arguments))
        raise InterruptedError

    for module in (prepare, train):
        monkeypatch.setattr(module, "run_module", run_module)
        monkeypatch.setattr(module, "model_file", lambda category, name: name)
    return SimpleNamespace(prepare=prepare, train=train, asked=asked)


def test_preparing_looks_for_detectors_where_track_face_does_and_halves_the_text_encoder(training):
    with pytest.raises(InterruptedError):
        training.prepare.SlotIDPrepareDataset.execute("folder", "people", "set", "vae", "umt5", 65, 832, 480, False, 1)
    config = json.loads(training.asked[0][0])
    assert config["text_encoder_dtype"] == "bfloat16"
    assert [Path(folder).name for folder in config["detector_models"]] == ["insightface", "face_detection"]
    assert config["systems"] == ["slot_id"] and "face_encoder" not in config


def test_preparing_for_another_system_names_it_and_its_face_encoder(training):
    inputs = ("toy world", "", "set", "vae", "toy_world", 65, 832, 480, False, 1)
    with pytest.raises(InterruptedError):
        training.prepare.SlotIDPrepareDataset.execute(*inputs, system="lynx", face_encoder="toy_world_random")
    config = json.loads(training.asked[0][0])
    assert config["systems"] == ["lynx"] and Path(config["face_encoder"]).is_file()


def test_preparing_notices_new_clips(training, tmp_path):
    def fingerprint(source):
        return training.prepare.SlotIDPrepareDataset.fingerprint_inputs(source=source, path="people", name="set")

    before, drawn = fingerprint("folder"), fingerprint("toy world")
    assert fingerprint("folder") == before
    (tmp_path / "input" / "people" / "new.txt").write_text("a woman smiles")
    assert fingerprint("folder") != before and fingerprint("toy world") == drawn


def test_the_presets_sizes_and_rates_hold_unless_others_are_given(training):
    schema = training.train.SlotIDTrainEncoder.define_schema()
    defaults = {i.id: i.default for i in schema.inputs if i.id in ("steps", "learning_rate", "batch", "micro_batch")}
    given = {"dataset": "data", "preset": "wan_1_3b_24gb", "model_name": "wan", "name": "mine"}
    for changes, expected in (({}, (8, 1, 1e-4)), ({"batch": 4, "learning_rate": 2e-4}, (4, 1, 2e-4))):
        with pytest.raises(InterruptedError):
            training.train.SlotIDTrainEncoder.execute(**given, **(defaults | changes))
        arguments = training.asked.pop()[1]
        changed = [arguments[place + 1] for place, name in enumerate(arguments) if name == "--set"]
        config = read_config(training.train.PRESETS / "wan_1_3b_24gb.yaml", changed)
        assert (config.run.batch, config.run.micro_batch, config.optimizer.learning_rate) == expected


def test_the_child_is_found_where_neither_the_folder_nor_the_environment_says_where_it_is(pack_module, tmp_path):
    child = pack_module("nodes.training.child_process")
    command = [sys.executable, "-I", "-c", child.START, str(child.PACK), "slotid_core.dataset", "--help"]
    assert "--config" in subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGKILL, "was killed .SIGKILL.*main memory.*micro_batch.*queue again"),
     (signal.SIGSEGV, "was ended by the system .SIGSEGV.*queue again")],
)  # fmt: skip
def test_b12_a_child_that_was_killed_is_said_to_have_been(pack_module, number, said):
    """A real child, of any module that runs until it is stopped."""
    import psutil

    def kill() -> None:
        while True:
            for process in psutil.Process().children():
                if "http.server" in process.cmdline():
                    time.sleep(1)
                    process.send_signal(number)
                    return
            time.sleep(0.1)

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(ValueError, match=f"http.server {said}"):
        pack_module("nodes.training.child_process").run_module("http.server", ["0", "--bind", "127.0.0.1"], print)


def test_missing_packages_are_named_before_anything_runs(training, monkeypatch):
    monkeypatch.setattr(training.train, "NEEDED", ("json", "no_such_package"))
    with pytest.raises(ValueError, match="pip install no_such_package"):
        training.train.check_packages()


@pytest.mark.parametrize(
    ("preset", "system", "category"),
    [
        ("toy_world", "slot_id", "slotid"),
        ("toy_world_lynx", "lynx", "lynx"),
        ("toy_world_lavie_id_temporal", "lavie_id_temporal", "lavie_id_temporal"),
    ],
)
def test_the_preset_says_the_system_and_a_trained_adapter_goes_to_that_systems_folder(
    training, pack_module, tmp_path, preset, system, category
):
    import folder_paths

    with pytest.raises(InterruptedError):
        training.train.SlotIDTrainEncoder.execute("data", preset, "wan", "mine", 3, 0.0, 0, 0, system=system)
    assert any(str(argument).endswith(f"{preset}.yaml") for argument in training.asked[0][1])
    assert training.train.checked_system(preset, training.train.OF_PRESET) == system
    other = "slot_id" if system == "lynx" else "lynx"
    with pytest.raises(Exception, match=f"is of the system {system}, but system is {other}"):
        training.train.checked_system(preset, other)
    adapter = pack_module("nodes.slot_id.paths").adapter_path("toy_world_random")
    loaded = training.train.install_trained(system, Path(adapter), f"trained_{system}")
    folder = Path(folder_paths.get_folder_paths(category)[0])
    assert (folder / f"trained_{system}.safetensors").read_bytes() == Path(adapter).read_bytes()
    assert type(loaded).__name__ == {"slot_id": "LoadedAdapter"}.get(system, "ExecutionBlocker")


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
