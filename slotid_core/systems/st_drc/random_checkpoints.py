"""A small ST-DRC adapter with random weights, made on demand for a small video model: it proves the plumbing."""

import os
from pathlib import Path

import torch

from ...wan.lora import new_lora
from .adapter import STDRCAdapter, save_adapter
from .config import AdapterConfig, LayoutConfig, LoRAConfig

SEED, VERSION = 0, 1


def random_adapter_file(folder: str | os.PathLike, model_width: int, model_depth: int) -> Path:
    """The adapter's file in `folder`; made if it is not there, the same for everybody."""
    path = Path(folder) / f"random_v{VERSION}_st_drc_adapter.safetensors"
    if not path.exists():
        save_adapter(path, random_adapter(model_width, model_depth), training={"note": "random weights"})
    return path


def random_adapter(
    model_width: int, model_depth: int, layout: LayoutConfig | None = None, **lora_settings
) -> STDRCAdapter:
    """A small adapter in which nothing is zero, so that every path shows in the output."""
    settings = LoRAConfig(**{"rank": 4, "alpha": 4.0, **lora_settings})
    config = AdapterConfig(model_width, model_depth, settings, layout or LayoutConfig())
    generator = torch.Generator().manual_seed(SEED)
    lora = new_lora(settings.layers, settings.rank, settings.alpha, model_width, model_depth, generator)
    for name, tensor in lora.items():
        if name.endswith("lora_B.weight"):
            tensor.normal_(std=0.05, generator=generator)
    return STDRCAdapter(config, lora, "random")
