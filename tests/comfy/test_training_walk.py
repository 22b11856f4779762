"""The lines of docs/training.md under "From a folder of clips to ComfyUI", as they stand, up to the node that loads."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
CLIPS = Path(os.environ.get("SLOTID_CLIPS", ROOT.parent / "shared" / "data" / "faces"))
REAL = {"anna": ("d0.mp4",), "ben": ("s20.mp4",)}
SHELL = ("cp",)
# What the machine of a test cannot do: half precision, and sizes that take a GPU.
SMALLER = (
    "model.dtype=float32", "model.compute_dtype=float32", "run.steps=10", "run.batch=1", "run.save_every=10",
    "optimizer.warmup_steps=2",
)  # fmt: skip
SIZES = {"frames": 5, "height": 64, "width": 96, "reference_size": 64, "portrait_size": 64, "device": "cpu"}
STREAM = "{width: 64, num_heads: 2, global_width: 32}"
MODULES = (
    "nodes.slot_id.load", "nodes.slot_id.paths", "slotid_core.config", "slotid_core.systems.slot_id.random_checkpoints",
    "slotid_core.toy_world.motion", "slotid_core.toy_world.person", "slotid_core.toy_world.random_checkpoints",
    "slotid_core.toy_world.render", "slotid_core.toy_world.scene", "slotid_core.wan", "slotid_core.weights",
)  # fmt: skip


@pytest.fixture(scope="module")
def pack(pack_module):
    return {name.rpartition(".")[2]: pack_module(name) for name in MODULES if "systems" not in name}


def section() -> tuple[str, list[str]]:
    """Settings of the data, and command lines."""
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    text = page.split("## From a folder of clips to ComfyUI")[1].split("\n## ")[0]
    blocks = dict(re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    return blocks["yaml"], blocks[""].splitlines()


def write_clip(path: Path, frames: torch.Tensor) -> None:
    """(T, H, W, 3) in [0, 1]"""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=16)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for picture in (frames * 255).round().to(torch.uint8).numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())


def drawn_clips(folder: Path, pack) -> None:
    for number, person in enumerate(("anna", "ben")):
        drawn, scene = pack["person"].sample_person(number), pack["scene"].sample_scene(number)
        write_clip(folder / person / "clip.mp4", pack["render"].render_clip(drawn, scene, 9, 128))


def real_clips(folder: Path) -> None:
    for person, names in REAL.items():
        (folder / person).mkdir(parents=True)
        for name in names:
            shutil.copy(CLIPS / name, folder / person / name)


def lay_out(folder: Path, pack, width: int) -> None:
    """Models and pack where the page says they are; weights are random, and the video model has two blocks."""
    (folder / "slotid_core").symlink_to(ROOT / "slotid_core", target_is_directory=True)
    files = pack["random_checkpoints"].random_checkpoints(folder / "random")
    for source, target in (
        (files.vae, "models/vae/wan_2.1_vae.safetensors"),
        (files.text_encoder, "models/text_encoders/umt5_xxl_fp16.safetensors"),
    ):
        (folder / target).parent.mkdir(parents=True)
        shutil.copy(source, folder / target)
    torch.manual_seed(0)
    wan = pack["wan"]
    ffn = wan.WAN_1_3B.ffn_dim if width == wan.WAN_1_3B.dim else 2 * width
    model = wan.WanModel(wan.WanConfig(width, ffn, 2, width // 128))
    target = folder / "models/diffusion_models/wan2.1_t2v_1.3B_bf16.safetensors"
    target.parent.mkdir(parents=True)
    tensors = {name: tensor.bfloat16() for name, tensor in model.state_dict().items()}
    pack["weights"].save_weights(target, tensors, {"kind": "random", "version": 1})


def walk(folder: Path, pack, overrides: tuple[str, ...]) -> dict[str, str]:
    """Every line, in order; what each printed."""
    yaml, lines = section()
    settings = pack["config"].read_settings(yaml)
    (folder / "data.yaml").write_text(json.dumps({**settings, **SIZES, "text_encoder_dtype": "float32"}))
    (folder / "ComfyUI/models/slotid").mkdir(parents=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    printed = {}
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program in ("python", *SHELL), line
        if "slotid_core.training" in arguments:
            arguments += [word for override in overrides for word in ("--set", override)]
        program = sys.executable if program == "python" else program
        done = subprocess.run(
            [program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        printed[line] = done.stdout
    return printed


def check(folder: Path, pack, printed: dict[str, str], width: int, monkeypatch) -> None:
    prepared = json.loads((folder / "data/slotid/train/manifest.json").read_text())
    assert prepared["failed"] == 0 and prepared["people"] == 2
    (dry,) = [text for line, text in printed.items() if "--dry-run" in line]
    assert "memory_gib_a_gpu" in dry and "days_by_arithmetic" in dry and "seconds_a_step" in dry
    losses = [json.loads(row) for row in (folder / "output/my_adapter/log.jsonl").read_text().splitlines()]
    assert sum("loss" in row for row in losses) == 10
    import folder_paths

    place = str(folder / "ComfyUI/models/slotid")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, pack["paths"].ADAPTERS, ([place], {".safetensors"}))
    loaded = pack["load"].SlotIDLoadAdapter.execute("my_adapter.safetensors").result[0]
    assert loaded.module.config.model_width == width and loaded.module.config.model_depth == 2
    # Ten steps: what starts at zero, so that training begins with the model as it is, has moved.
    assert any(
        float(tensor.abs().max()) > 0 for name, tensor in loaded.module.lora.items() if "up" in name or "B" in name
    )


def test_the_page_leads_from_clips_to_an_adapter_that_comfyui_loads(tmp_path, pack, monkeypatch):
    """Drawn people, at a small width."""
    drawn_clips(tmp_path / "clips", pack)
    captions(tmp_path / "clips")
    lay_out(tmp_path, pack, width=128)
    small = (*SMALLER, f"adapter.encoder={STREAM}", f"adapter.anchor={STREAM}")
    check(tmp_path, pack, walk(tmp_path, pack, small), 128, monkeypatch)


@pytest.mark.slow
@pytest.mark.skipif(not CLIPS.is_dir(), reason="real clips are not beside this checkout (SLOTID_CLIPS)")
def test_the_page_with_real_clips_at_the_width_of_1_3b(tmp_path, pack, monkeypatch):
    real_clips(tmp_path / "clips")
    captions(tmp_path / "clips")
    width = pack["wan"].WAN_1_3B.dim
    lay_out(tmp_path, pack, width)
    check(tmp_path, pack, walk(tmp_path, pack, SMALLER), width, monkeypatch)


def captions(folder: Path) -> None:
    for video in folder.rglob("*.mp4"):
        video.with_suffix(".txt").write_text("A person looks into the camera and talks.")
