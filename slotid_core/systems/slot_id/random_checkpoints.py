"""A small Slot-ID adapter with random weights, made on demand for a small video model: it proves the plumbing."""

import os
from pathlib import Path

import torch

from ...wan.lora import new_lora
from .adapter import SlotIDAdapter, save_adapter
from .config import AdapterConfig, LoRAConfig
from .image_anchor import ImageAnchorConfig
from .temporal_encoder import TemporalEncoderConfig

SEED, VERSION = 0, 2


def random_adapter_file(folder: str | os.PathLike, model_width: int, model_depth: int) -> Path:
    """The adapter's file in `folder`; made if it is not there, the same for everybody."""
    path = Path(folder) / f"random_v{VERSION}_adapter.safetensors"
    if not path.exists():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            save_adapter(path, random_adapter(model_width, model_depth), training={"note": "random weights"})
    return path


def random_adapter(model_width: int, model_depth: int) -> SlotIDAdapter:
    """A small adapter in which nothing is zero, so that every path shows in the output."""
    lora = LoRAConfig(rank=4, alpha=4.0)
    config = AdapterConfig.for_model(
        model_width,
        model_depth,
        encoder=TemporalEncoderConfig(model_width, width=128, num_heads=4, global_width=64),
        anchor=ImageAnchorConfig(model_width, width=128, num_heads=4, global_width=64),
        reference_size=128,
        reference_frames=17,
        portrait_size=128,
        film_rank=8,
        lora=lora,
    )
    adapter = SlotIDAdapter(config)
    assert adapter.film is not None  # by default it modulates half of the blocks
    torch.nn.init.normal_(adapter.film.up.weight, std=0.03)
    adapter.lora = new_lora(lora.layers, lora.rank, lora.alpha, model_width, model_depth)
    for name, tensor in adapter.lora.items():
        if name.endswith("lora_B.weight"):
            tensor.normal_(std=0.05)
    return adapter
