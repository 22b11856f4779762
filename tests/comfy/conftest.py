"""A process whose path starts with ComfyUI, the pack loaded from its folder as ComfyUI does, and one shared server.

The repository's root must come last: a folder of ours is called `nodes`, as is a module of ComfyUI's.
"""

import copy
import importlib
import importlib.util
import os
import shutil
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from slotid_core.comfy_runtime import import_comfyui  # noqa: E402

import_comfyui()

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from slotid_core.comfy_client import ComfyClient  # noqa: E402
from slotid_core.comfy_server import ComfyServer  # noqa: E402
from slotid_core.toy_world.random_checkpoints import random_checkpoints  # noqa: E402

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
PACK = "slotid_pack"


@pytest.fixture(scope="session")
def pack_module(tmp_path_factory):
    """import_module for modules of the pack, which live under a name of ComfyUI's making."""
    import folder_paths

    folder_paths.models_dir = str(tmp_path_factory.mktemp("models"))
    package = types.ModuleType(PACK)
    package.__path__ = [str(ROOT)]
    sys.modules[PACK] = package
    return lambda name: importlib.import_module(f"{PACK}.{name}")


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A real ComfyUI with the pack and tiny checkpoints in it; starting takes half a minute, so all tests share it."""
    base = tmp_path_factory.mktemp("comfyui")
    checkpoints = random_checkpoints(base / "checkpoints")
    files = {
        "diffusion_models/tiny_t2v": checkpoints.t2v,
        "diffusion_models/tiny_i2v": checkpoints.i2v,
        "diffusion_models/tiny_vae_as_model": checkpoints.vae,
        "vae/tiny_vae": checkpoints.vae,
        "text_encoders/tiny_text": checkpoints.text_encoder,
    }
    for name, source in files.items():
        target = base / "models" / f"{name}.safetensors"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    with ComfyServer(base) as running:
        yield running


@pytest.fixture(scope="session")
def client(server):
    return ComfyClient(server.address, timeout=300)


@pytest.fixture
def latents(client, tmp_path):
    """Runs a graph that saves latents, and gives them."""

    def run(graph: dict) -> torch.Tensor:
        result = client.run(copy.deepcopy(graph))
        (entry,) = [file for file in result.files() if file["filename"].endswith(".latent")]
        return load_file(client.fetch(entry, tmp_path))["latent_tensor"]

    return run
