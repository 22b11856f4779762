"""Bad input through a real server: one clear message at the node that met it, and the queue goes on."""

import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from graphs import applied, base_graph, node, person, with_person
from safetensors.torch import load_file, save_file

from slotid_core.comfy_client import WorkflowError
from slotid_core.systems.slot_id import GateSchedule, Identity

ROOT = Path(__file__).resolve().parents[2]


def write_clip(path: Path, frames: np.ndarray) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=16)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def reading(file: str, on_missing: str = "error") -> dict:
    return {
        "clip": node(
            "SlotIDLoadReferenceVideo", file=file, num_frames=9, start_seconds=0.0, sample_rate=0.0, short_side=480,
            decoder="auto",
        ),
        "face": node(
            "SlotIDFaceTrack", frames=["clip", 0], size=128, margin=0.5, smoothing=2, subject=0,
            on_missing=on_missing, detector="auto",
        ),
        "show": node("PreviewImage", images=["face", 0]),
    }  # fmt: skip


def refused(client, graph: dict) -> WorkflowError:
    with pytest.raises(WorkflowError) as error:
        client.run(graph)
    return error.value


def test_swapped_wires_are_named(client):
    graph = with_person()
    graph["ann"]["inputs"] |= {"slots": ["ann anchors", 0], "anchors": ["ann slots", 0]}
    assert "socket 'slots' got anchors" in str(refused(client, graph))
    graph = with_person()
    graph["ann anchors"]["inputs"]["portrait_latent"] = ["ann clip latent", 0]
    assert "portrait is one picture" in str(refused(client, graph))
    graph = with_person() | {"other": node("SlotIDLoadAdapter", adapter_name="toy_world")}
    graph["ann slots"]["inputs"]["adapter"] = ["other", 0]
    assert "slots were made by another adapter" in str(refused(client, graph))


@pytest.fixture
def faceless(tmp_path) -> Path:
    return write_clip(tmp_path / "faceless.mp4", np.full((12, 128, 128, 3), 90, np.uint8))


def test_truncated_and_empty_videos(client, faceless, tmp_path):
    whole = faceless.read_bytes()
    for name, content in (("truncated.mp4", whole[:300]), ("empty.mp4", b""), ("text.mp4", b"not a video")):
        (tmp_path / name).write_bytes(content)
        error = refused(client, reading(client.upload(tmp_path / name)))
        assert error.node_type == "SlotIDLoadReferenceVideo" and name in error.message, error


@pytest.mark.parametrize("name", ["gone.mp4", "../escape.mp4", "/etc/passwd", ""])
def test_missing_files_and_paths_outside_the_input_folder(client, server, name, faceless):
    shutil.copy(faceless, server.base / "escape.mp4")
    error = refused(client, reading(name))
    assert error.node_type == "SlotIDLoadReferenceVideo"
    assert any(word in error.message for word in ("outside ComfyUI's input", "There is no video", "No video is chosen"))


def test_a_link_out_of_the_input_folder_is_refused(client, server, faceless):
    (server.base / "input" / "link.mp4").symlink_to(faceless)
    assert "outside ComfyUI's input" in refused(client, reading("link.mp4")).message


def test_no_face_is_an_error_or_skipped_as_set(client, faceless):
    name = client.upload(faceless)
    error = refused(client, reading(name))
    assert error.node_type == "SlotIDFaceTrack" and "No face" in error.message and "skip" in error.message
    assert client.run(reading(name, on_missing="skip")).files()


def test_an_identity_for_another_model_size(client, server):
    film = torch.zeros(1, 15, 2, 1536)
    big = Identity(torch.zeros(1, 2, 1536), torch.zeros(1, 6, 1536), film, film, 1536, 30, GateSchedule())
    big.save(server.base / "models" / "slotid" / "identities" / "for_1_3b.safetensors")
    graph = base_graph(model=("apply", 0)) | {
        "who": node("SlotIDLoadIdentity", identity_name="for_1_3b.safetensors"),
        "apply": applied("who"),
    }
    error = refused(client, graph)
    assert error.node_type == "SlotIDApplyIdentity" and "1536" in error.message and "256" in error.message


@pytest.mark.parametrize("how", ["truncated", "foreign", "nan"])
def test_damaged_and_foreign_adapter_files(client, server, how):
    client.run(base_graph() | person("ann", 0x808080))  # makes the toy world's adapter
    good = next((server.base / "models" / "slotid" / "toy_world").glob("*adapter*"))
    path = server.base / "models" / "slotid" / f"{how}.safetensors"
    if how == "truncated":
        path.write_bytes(good.read_bytes()[:-50])
    elif how == "foreign":
        save_file({"weight": torch.zeros(3)}, path)
    else:
        from safetensors import safe_open

        tensors = load_file(good)
        tensors["encoder.norm.weight"].fill_(float("nan"))
        with safe_open(good, framework="pt") as file:
            save_file(tensors, path, metadata=file.metadata())
    graph = base_graph(model=("lora", 0)) | {
        "adapter": node("SlotIDLoadAdapter", adapter_name=path.name),
        "lora": node("SlotIDApplyLoRA", model=["model", 0], adapter=["adapter", 0], lora_strength=1.0),
    }
    error = refused(client, graph)
    assert error.node_type == "SlotIDLoadAdapter" and path.name in error.message
    assert {"truncated": "damaged", "foreign": "not one of this pack's", "nan": "NaN"}[how] in error.message


def test_a_model_that_is_not_wan(client, server):
    other = server.base / "models" / "diffusion_models" / "hunyuan3d.safetensors"
    tensors = {"latent_in.weight": torch.zeros(64, 8), "cond_in.weight": torch.zeros(64, 16)}
    save_file(tensors | {"double_blocks.0.img_attn.norm.key_norm.scale": torch.ones(4)}, other)
    graph = base_graph(model=("unet", 0))
    graph["unet"] = node("SlotIDLoadWanModel", model_name=other.name, weight_dtype="default")
    error = refused(client, graph)
    assert error.node_type == "SlotIDLoadWanModel" and "Wan 2.1 or 2.2" in error.message


def test_nan_in_latents(client, server):
    save_file(
        {"latent_tensor": torch.full((1, 16, 3, 8, 8), float("nan")), "latent_format_version_0": torch.tensor([])},
        server.base / "input" / "nan.latent",
    )
    graph = base_graph() | person("ann", 0x808080)
    graph["ann clip latent"] = node("LoadLatent", latent="nan.latent")
    graph["apply"] = applied("ann")
    graph["sample"]["inputs"]["model"] = ["apply", 0]
    error = refused(client, graph)
    assert error.node_type == "SlotIDTemporalEncoder" and "NaN" in error.message


def test_a_saved_identity_is_never_lost_and_names_are_checked(client, server):
    folder = server.base / "models" / "slotid" / "identities"

    def save(name: str, color: int, replace: bool = False):
        graph = base_graph() | person("ann", color)
        graph["keep"] = node("SlotIDSaveIdentity", identity=["ann", 0], name=name, replace=replace)
        return client.run(graph)

    save("kept", 0x804020)
    first = (folder / "kept.safetensors").read_bytes()
    save("kept", 0x204080)
    assert (folder / "kept.safetensors").read_bytes() == first and (folder / "kept_2.safetensors").exists()
    save("kept", 0x208040, replace=True)
    assert (folder / "kept.safetensors").read_bytes() != first
    for name in ("../out", "a/b", "", "."):
        with pytest.raises(WorkflowError, match="cannot be an identity's name"):
            save(name, 0x101010)
    assert not [path for path in folder.rglob("*") if path.suffix != ".safetensors"]


def test_the_core_imports_without_comfyui_and_without_optional_packages():
    """In a process that cannot see ComfyUI, and in which every optional package is hidden."""
    script = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {'comfy', 'decord', 'av', 'skimage', 'cv2', 'insightface', 'peft', 'matplotlib'}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
import slotid_core
assert 'torch' not in sys.modules
import slotid_core.systems.slot_id, slotid_core.wan, slotid_core.weights
import slotid_core.reference.decode.clip, slotid_core.toy_world.render
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, env={"PYTHONPATH": str(ROOT)}, timeout=120)
