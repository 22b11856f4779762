"""What arrives through the server reaches only the folders that are meant, and overwrites nothing."""

import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from graphs import node, with_person

from slotid_core.comfy_client import ComfyClient, WorkflowError

EVERYWHERE = ("..", "../outside", "/etc", "a\0b", "link")


@pytest.fixture
def folders(pack_module, tmp_path, monkeypatch):
    """Folders of ComfyUI's of our own, a link out of each, and something outside."""
    import folder_paths

    pack_module("nodes")
    for name in ("input", "output", "outside"):
        (tmp_path / name).mkdir()
    for name in ("input", "output"):
        (tmp_path / name / "link").symlink_to(tmp_path / "outside")
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(tmp_path / name))
    models = tmp_path / "models"
    for category in ("slotid", "slotid_identities", "lynx", "st_drc", "lavie_id"):
        (models / category).mkdir(parents=True)
        monkeypatch.setitem(folder_paths.folder_names_and_paths, category, ([str(models / category)], {".safetensors"}))
        folder_paths.filename_list_cache.pop(category, None)
    return SimpleNamespace(base=tmp_path, models=models, paths=pack_module("nodes.shared.paths"))


@pytest.fixture
def train(pack_module, folders, monkeypatch):
    """Train Slot-ID, with a child process that must not be reached."""
    module = pack_module("nodes.training.train")
    monkeypatch.setattr(module, "check_packages", lambda: None)
    monkeypatch.setattr(module, "run_module", lambda *values: pytest.fail("training began"))
    return module


def run_train(train, **changes):
    given = {"dataset": "slotid/data/people", "preset": "toy_world", "model_name": "toy_world", "name": "mine",
             "steps": 1, "learning_rate": 0.0, "batch": 0, "micro_batch": 0}  # fmt: skip
    return train.SlotIDTrainEncoder.execute(**(given | changes))


def test_b7_a_preset_is_one_of_the_packs(train, folders):
    (folders.base / "outside" / "mine.yaml").write_text("system: slot_id")
    for preset in (str(folders.base / "outside" / "mine"), "../../training/configs/toy_world", "toy_world\0", "none"):
        with pytest.raises(ValueError, match="preset"):
            run_train(train, preset=preset)
        with pytest.raises(ValueError, match="There is no preset"):
            train.checked_system(preset, train.OF_PRESET)


def test_b7_every_combo_takes_only_what_it_offers(pack_module, folders):
    toy, video = pack_module("nodes.shared.toy_world"), pack_module("nodes.reference.video")
    with pytest.raises(
        ValueError, match=r"weights of Load Toy World .* is 'anything'; it must be one of trained, random"
    ):
        toy.SlotIDLoadToyWorld.execute(weights="anything")
    with pytest.raises(ValueError, match="window of Load Reference Video is 'worst'"):
        video.SlotIDLoadReferenceVideo.execute("x.mp4", 5, 0.0, 16.0, 480, "auto", window="worst")
    io = pack_module("nodes.shared.choices").io
    unchecked = {
        f"{node.__name__}.{combo.id}"
        for node in pack_module("nodes").NODES
        for combo in node.define_schema().inputs
        if isinstance(combo, io.Combo.Input) and not refuses(pack_module, node, combo.id)
    }
    assert {name.split(".")[1] for name in unchecked} <= pack_module("nodes.shared.choices").FILES, unchecked


@pytest.mark.parametrize("value", [{}, [], 5, True, None])
def test_b11_the_name_of_a_file_is_a_text(pack_module, folders, value):
    io, check_choices = pack_module("nodes.shared.choices").io, pack_module("nodes.shared.choices").check_choices
    combos = [
        (node, combo.id)
        for node in pack_module("nodes").NODES
        for combo in node.define_schema().inputs
        if isinstance(combo, io.Combo.Input) and combo.id in pack_module("nodes.shared.choices").FILES
    ]
    assert len(combos) > 8
    for loader, name in combos:
        with pytest.raises(ValueError, match=f"{name} of .* must be the name of a file"):
            check_choices(loader, {name: value})


def test_b11_nothing_is_no_choice(pack_module, folders):
    apply = pack_module("nodes.lynx.apply").LynxApply
    with pytest.raises(ValueError, match="conditionings of .* is None; it must be one of"):
        pack_module("nodes.shared.choices").check_choices(apply, {"conditionings": None})
    pack_module("nodes.shared.choices").check_choices(apply, {})  # not given, so its default holds


@pytest.mark.parametrize("value", [{}, [], [1, 2, 3], 5, True])
def test_b11_a_name_that_is_no_text_is_refused_before_anything_runs(pack_module, train, folders, value):
    """JSON in a prompt may be anything, and ComfyUI asks nodes about it as it is."""
    video = pack_module("nodes.reference.video").SlotIDLoadReferenceVideo
    nodes = [
        pack_module("nodes.slot_id.identity").SlotIDSaveIdentity,
        pack_module("nodes.lynx.reference").LynxSaveReference,
        pack_module("nodes.training.prepare").SlotIDPrepareDataset,
        train.SlotIDTrainEncoder,
    ]
    for one in nodes:
        assert "'s name" in one.validate_inputs(name=value)
    assert "is no text" in video.validate_inputs(file=value)


def refuses(pack_module, node, combo: str) -> bool:
    try:
        pack_module("nodes.shared.choices").check_choices(node, {combo: "no such choice"})
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("name", EVERYWHERE)
def test_b2_data_for_training_lies_in_output_or_input(train, folders, name):
    for socket in ("dataset", "validation"):
        with pytest.raises(ValueError, match=f"{socket}: .* lies in neither"):
            run_train(train, **{socket: name})
    inside = folders.base / "input" / "data"
    assert folders.paths.work_path(str(inside), "dataset") == str(inside)


@pytest.mark.parametrize("name", EVERYWHERE)
def test_b2_b11_clips_lie_in_the_input_folder(pack_module, folders, name):
    prepare, video = pack_module("nodes.training.prepare"), pack_module("nodes.reference.video")
    with pytest.raises(ValueError, match="outside ComfyUI's input folder"):
        prepare.input_folder(name)
    with pytest.raises(ValueError, match="outside ComfyUI's input folder"):
        video.input_video_path(name)
    assert "outside ComfyUI's input" in video.SlotIDLoadReferenceVideo.validate_inputs(file=name)


@pytest.mark.parametrize("name", ["../x", "a/b", "a\0b", "x" * 245, "con", "COM1.person", ""])
def test_b3_names_are_judged_before_anything_runs(pack_module, train, folders, name):
    nodes = [
        pack_module("nodes.slot_id.identity").SlotIDSaveIdentity,
        pack_module("nodes.lynx.reference").LynxSaveReference,
        pack_module("nodes.st_drc.person").STDRCSavePerson,
        pack_module("nodes.lavie_id.person").LaVieIDSavePerson,
        pack_module("nodes.training.prepare").SlotIDPrepareDataset,
        train.SlotIDTrainEncoder,
    ]
    for one in nodes:
        assert "'s name" in one.validate_inputs(name=name)
        assert one.validate_inputs() is True and one.validate_inputs(name="Anna 2") is True
    with pytest.raises(ValueError, match="'s name"):
        run_train(train, name=name)
    assert not (folders.base / "output" / "slotid").exists()


def test_b3_a_folder_of_results_that_is_a_link_is_refused(pack_module, folders):
    settings = pack_module("nodes.training.settings")
    made = settings.work_folder("training", " mine ")
    assert made == folders.base / "output" / "slotid" / "training" / "mine" and made.is_dir()
    (made.parent / "away").symlink_to(folders.base / "outside")
    with pytest.raises(ValueError, match="outside"):
        settings.work_folder("training", "away")


def test_b3_a_trained_adapter_replaces_none(pack_module, folders):
    files = pack_module("nodes.shared.files")
    (folders.base / "new").write_bytes(b"new")
    there = folders.models / "slotid" / "mine.safetensors"
    there.write_bytes(b"old")

    def kept():
        return files.keep_as_new(folders.base / "new", "slotid", "an adapter", "mine").name

    assert kept() == "mine_2.safetensors" and there.read_bytes() == b"old"
    assert kept() == "mine_2.safetensors"  # the very same is not kept twice
    (folders.base / "new").write_bytes(b"more")
    assert kept() == "mine_3.safetensors"
    assert {path.read_bytes() for path in there.parent.iterdir()} == {b"old", b"new", b"more"}


@pytest.mark.parametrize("system", ["slot_id", "lynx", "st_drc", "lavie_id"])
def test_b3_training_a_system_again_replaces_none_of_its_adapters(pack_module, folders, system):
    train, category = pack_module("nodes.training.train"), {"slot_id": "slotid"}.get(system, system)
    adapter = pack_module("nodes.slot_id.paths").adapter_path("toy_world_random")
    there = folders.models / category / "mine.safetensors"
    there.write_bytes(b"old")
    train.install_trained(system, Path(adapter), "mine")
    assert there.read_bytes() == b"old"
    assert there.with_name("mine_2.safetensors").read_bytes() == Path(adapter).read_bytes()


def test_b2_models_are_files_of_their_kind_in_their_folders(folders):
    (folders.models / "slotid" / "words.yaml").write_text("secret: 1")
    (folders.models / "outside.safetensors").write_bytes(b"x")
    for name in ("words.yaml", "../outside.safetensors", "../slotid/../outside.safetensors", "a\0.safetensors", "", 5):
        with pytest.raises(ValueError, match="There is no file"):
            folders.paths.model_path("slotid", name)
    (folders.models / "slotid" / "a.safetensors").symlink_to(folders.models / "outside.safetensors")
    assert folders.paths.model_path("slotid", "a.safetensors")  # as ComfyUI: who owns the folder made the link


def test_d15_a_deleted_folder_is_an_empty_list_and_comes_back_with_the_next_file(pack_module, folders):
    node = pack_module("nodes.slot_id.identity").SlotIDLoadIdentity
    folder = folders.models / "slotid_identities"
    (folder / "ann.safetensors").write_bytes(b"x")
    (folder / "deeper").mkdir()

    def offered():
        return node.define_schema().inputs[0].options

    assert offered() == ["ann.safetensors"]
    shutil.rmtree(folder)
    assert offered() == []
    Path(folders.paths.new_path("slotid_identities", "an identity", "ben")).write_bytes(b"x")
    assert offered() == ["ben.safetensors"]


def test_b11_blocks_in_digits_of_other_scripts_are_refused_in_words(pack_module, folders):
    with pytest.raises(ValueError, match="no block or range"):
        pack_module("nodes.shared.inputs").parse_blocks("0-²", 4)


def refused(client, graph: dict) -> WorkflowError:
    with pytest.raises(WorkflowError) as error:
        client.run(graph)
    return error.value


def test_b1_b2_playlists_are_refused_by_a_server_at_once(client, server, tmp_path):
    (server.base / "secret.txt").write_text("secret")
    texts = {
        "itself.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nitself.m3u8\n",
        "other.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{server.base}/secret.txt\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        began = time.monotonic()
        error = refused(client, show_clip(client.upload(tmp_path / name)))
        assert error.node_type == "SlotIDLoadReferenceVideo" and "list" in error.message
        assert time.monotonic() - began < 60


def show_clip(file: str) -> dict:
    return {
        "clip": node(
            "SlotIDLoadReferenceVideo", file=file, num_frames=5, start_seconds=0.0, sample_rate=0.0, short_side=64,
            decoder="auto",
        ),
        "show": node("PreviewImage", images=["clip", 0]),
    }  # fmt: skip


def test_b1_interrupting_is_heard_while_a_late_window_is_looked_for(client, server, tmp_path):
    """A file of one key frame: whatever window is asked for, all frames before it are decoded."""
    path = server.base / "input" / "long.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 640, 480, "yuv420p", 100_000
        stream.options = {"preset": "ultrafast", "sc_threshold": "0"}
        frame = av.VideoFrame.from_ndarray(np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8))
        for _ in range(6000):
            frame.pts = None
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    graph = show_clip("long.mp4")
    graph["clip"]["inputs"]["start_seconds"] = 239.0
    began, seen = threading.Event(), []

    def progress(node_class: str, done: int, total: int) -> None:
        seen.append(done)
        began.set()

    def stop() -> None:
        began.wait(60)
        ComfyClient(server.address).interrupt()

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(WorkflowError, match="interrupted"):
        client.run(graph, progress)
    assert seen[0] == 0, "nothing was heard before the first frame of the window was there"


def test_b7_combos_and_b3_names_are_judged_by_a_server(client, server):
    graph = {"toy": node("SlotIDLoadToyWorld", weights="/etc/passwd"), "show": node("PreviewAny", source=["toy", 0])}
    error = refused(client, graph)
    assert "/etc/passwd" in str(error) and ("one of trained, random" in str(error) or "not in" in str(error))
    graph = {
        "toy": node("SlotIDLoadToyWorld", weights="random"),
        "data": node(
            "SlotIDPrepareDataset", source="toy world", path="", name="x" * 245, vae="toy_world",
            text_encoder="toy_world", frames=5, width=64, height=64, subfolders_are_people=False, toy_people=1,
        ),
        "show": node("PreviewAny", source=["data", 0]),
    }  # fmt: skip
    assert "160 at most" in str(refused(client, graph))


def test_d15_a_folder_deleted_while_the_server_runs_does_not_break_its_page(client, server):
    folder = server.base / "models" / "slotid" / "identities"
    (folder / "deeper").mkdir(parents=True, exist_ok=True)
    client.get("/object_info/SlotIDLoadIdentity")
    shutil.rmtree(folder)
    assert client.get("/object_info/SlotIDLoadIdentity")["SlotIDLoadIdentity"]["input"]["required"]["identity_name"]
    assert "SlotIDLoadIdentity" in client.get("/object_info")
    folder.mkdir()


@pytest.mark.parametrize("kind", ["an adapter", "a clip"])
def test_a_saved_result_does_not_name_the_folders_of_the_server(client, server, tmp_path, kind):
    """ComfyUI writes each prompt into what it saves, and with it what nodes say about their files."""
    graph = with_person()
    if kind == "a clip":
        graph = show_clip("slotid_examples/person_1000015.mp4")
    result = client.run(graph)
    content = client.fetch(result.files()[0], tmp_path).read_bytes()
    assert b"class_type" in content, "this file holds no prompt, so the test shows nothing"
    assert str(server.base).encode() not in content
