"""The example clips: real files in ComfyUI's input folder, put there once, and never in the way of a user's own."""

import shutil
import threading
from pathlib import Path

import folder_paths
import pytest
import torch

EXAMPLES = Path(__file__).resolve().parents[2] / "example_people"
DEFAULT = "slotid_examples/person_1000015.mp4"
EARLIER = "toy_world_person.mp4 [example]"


@pytest.fixture
def video(pack_module):
    return pack_module("nodes.reference.video")


@pytest.fixture
def example_clip(pack_module):
    return pack_module("nodes.reference.example_clip")


@pytest.fixture
def input_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path))
    return tmp_path


def frames_of(video, name):
    node = video.SlotIDLoadReferenceVideo
    assert node.validate_inputs(name) is True and node.fingerprint_inputs(name)
    return node.execute(name, 5, 0.0, 16.0, 64, "auto").args[0]


def test_all_are_offered_as_files_after_the_users_own(video, input_folder):
    (input_folder / "zoe.mp4").write_bytes(b"")
    offered = video.input_videos()
    assert offered[0] == "zoe.mp4" and len(offered) == 7 and DEFAULT in offered
    for name in offered[1:]:
        assert (input_folder / name).read_bytes() == (EXAMPLES / Path(name).name).read_bytes()
    assert not [path for path in input_folder.iterdir() if path.name.startswith(".")]


def test_what_the_user_deleted_stays_deleted_and_still_runs(video, example_clip, input_folder, monkeypatch):
    video.input_videos()
    (input_folder / DEFAULT).unlink()
    assert DEFAULT not in video.input_videos()
    assert frames_of(video, DEFAULT).shape == (5, 64, 64, 3)
    shutil.rmtree(input_folder / "slotid_examples")
    assert video.input_videos() == [] and not (input_folder / "slotid_examples").exists()
    (input_folder / "slotid_examples").mkdir()
    monkeypatch.setattr(example_clip, "_tried", set())  # as after a restart
    assert video.input_videos() == []


def test_a_folder_that_cannot_be_written_to_is_said_and_the_clips_run(video, input_folder, monkeypatch, caplog):
    (input_folder / "no folder").write_text("a file")
    monkeypatch.setattr(folder_paths, "input_directory", str(input_folder / "no folder"))
    assert DEFAULT in video.input_videos() and "cannot be written to" in caplog.text
    assert frames_of(video, DEFAULT).shape == (5, 64, 64, 3)


def test_workflows_saved_before_there_were_files_load(video, input_folder):
    assert torch.equal(frames_of(video, EARLIER), frames_of(video, DEFAULT))
    assert "no video" in video.SlotIDLoadReferenceVideo.validate_inputs("slotid_examples/../gone.mp4")


def test_servers_that_start_at_once_leave_one_whole_folder(example_clip, input_folder):
    folder, failures = input_folder / "slotid_examples", []

    def put():
        try:
            example_clip._copy_whole(str(input_folder), str(folder))
        except OSError as error:
            failures.append(error)

    servers = [threading.Thread(target=put) for _ in range(8)]
    for server in servers:
        server.start()
    for server in servers:
        server.join()
    assert not failures and [path.name for path in input_folder.iterdir()] == ["slotid_examples"]
    assert len(list(folder.iterdir())) == 6


def test_the_page_can_fetch_them(client):
    assert DEFAULT in client.object_info()["SlotIDLoadReferenceVideo"]["input"]["required"]["file"][1]["options"]
    folder, name = DEFAULT.split("/")
    reply = client._request("GET", "/view", params={"filename": name, "subfolder": folder, "type": "input"})
    assert reply.headers["Content-Type"] == "video/mp4" and reply.content == (EXAMPLES / name).read_bytes()
