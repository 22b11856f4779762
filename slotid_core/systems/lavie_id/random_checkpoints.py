"""A small LaVieID adapter with random weights, made on demand for a small video model: it proves the plumbing."""

import os
from pathlib import Path

import torch
from torch import nn

from .adapter import LaVieIDAdapter, save_adapter
from .config import AdapterConfig, EncoderConfig, RouterConfig, VisionConfig

SEED, VERSION = 0, 1
VISION = VisionConfig("own", side=32, width=32, pooled_width=16, levels=(0, 1), patch=8, heads=2)
ENCODER = EncoderConfig(
    width=32, depth=2, heads=2, head_width=16, identity_tokens=2, num_tokens=4, token_width=48, mlp_factor=2,
    face_width=0,
)  # fmt: skip
ROUTER = RouterConfig(inner_width=24, heads=2, head_width=16)


def random_adapter_file(folder: str | os.PathLike, model_width: int, model_depth: int) -> Path:
    """The adapter's file in `folder`; made if it is not there, the same for everybody."""
    path = Path(folder) / f"random_v{VERSION}_lavie_id_adapter.safetensors"
    if not path.exists():
        adapter = random_adapter(model_width, model_depth)
        save_adapter(path, adapter.config, dict(adapter.state_dict()), training={"note": "random weights"})
    return path


def random_adapter(
    model_width: int,
    model_depth: int,
    router: RouterConfig = ROUTER,
    encoder: EncoderConfig = ENCODER,
    vision: VisionConfig = VISION,
) -> LaVieIDAdapter:
    """A small adapter in which nothing is zero, so that every path shows in the output."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        adapter = LaVieIDAdapter(AdapterConfig(model_width, model_depth, vision, encoder, router), "random")
        nn.init.normal_(adapter.router.attention.to_out.weight, std=0.3)
    return adapter.eval().requires_grad_(False)
