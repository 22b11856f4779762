"""The ST-DRC adapter: a LoRA on self-attention and the layout that it was trained with, in one file of ours.

Stand-In's published file is read as well: its layout is known.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...config import config_to_dict, known_settings
from ...errors import SlotIDError
from ...wan.hooks.tokens import TokenLoRA
from ...wan.lora import check_lora, lora_key
from ...weights import has_header, load_weights, naming, read_pth, read_tensors, save_weights
from .config import AdapterConfig
from .stand_in import read_published

KIND = "st_drc_adapter"
VERSION = 1
PICKLED = (".ckpt", ".pth", ".pt")  # endings of files by torch.save; Stand-In's authors have one


@dataclass(frozen=True)
class AdapterHeader:
    """What an adapter's file says beside its tensors."""

    config: AdapterConfig


@dataclass(frozen=True)
class STDRCAdapter:
    """What makes a model use references.

    Attributes:
        lora: LoRA tensors by their file keys.
        fingerprint: of content; equal content, equal fingerprint, whatever the file.
    """

    config: AdapterConfig
    lora: dict[str, Tensor] = field(default_factory=dict)
    fingerprint: str = ""

    @property
    def merged_lora(self) -> dict[str, Tensor]:
        """What belongs on the model's weights; nothing where reference tokens alone are changed."""
        return self.lora if self.config.lora.tokens == "all" else {}

    @property
    def token_lora(self) -> dict[int, dict[str, TokenLoRA]]:
        """What changes reference tokens alone, by block and layer."""
        return {} if self.config.lora.tokens == "all" else token_lora(self.lora, self.config)

    def check_model(self, width: int, depth: int) -> None:
        """
        Raises:
            SlotIDError: the video model has another width or depth.
        """
        config = self.config
        if (width, depth) != (config.model_width, config.model_depth):
            raise SlotIDError(
                f"This ST-DRC adapter is for a video model of width {config.model_width} with {config.model_depth} "
                f"blocks; this MODEL has width {width} and {depth} blocks. Use the adapter of this model "
                "(Wan 1.3B: 1536 × 30, 14B: 5120 × 40)."
            )


def token_lora(lora: Mapping[str, Tensor], config: AdapterConfig) -> dict[int, dict[str, TokenLoRA]]:
    """LoRA tensors by their file keys -> by block and layer, with α / r as the scale."""
    return {
        block: {layer: _change(lora, lora_key(block, layer)) for layer in config.lora.layers}
        for block in range(config.model_depth)
    }


def _change(lora: Mapping[str, Tensor], key: str) -> TokenLoRA:
    down, up = lora[f"{key}.lora_A.weight"], lora[f"{key}.lora_B.weight"]
    return TokenLoRA(down, up, float(lora[f"{key}.alpha"]) / len(down))


def adapter_fingerprint(lora: Mapping[str, Tensor], config: AdapterConfig) -> str:
    """SHA-256 over names, shapes, values and settings."""
    digest = hashlib.sha256(repr(sorted(config_to_dict(config).items())).encode())
    for name in sorted(lora):
        tensor = lora[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def save_adapter(path: str | os.PathLike, adapter: STDRCAdapter, training: dict | None = None) -> None:
    """Write the adapter. `training` are facts about how it was made; JSON-ready."""
    header = {
        "kind": KIND,
        "version": VERSION,
        "config": config_to_dict(adapter.config),
        "training": training or {},
    }
    save_weights(path, adapter.lora, header)


def load_adapter(path: str | os.PathLike) -> STDRCAdapter:
    """Read an adapter, ours or Stand-In's published file, on the CPU, in the precision of the file.

    Raises:
        SlotIDError: not an adapter file, damaged, newer, with unknown settings or with tensors that do not fit.
    """
    is_pickled = os.fspath(path).lower().endswith(PICKLED)
    if is_pickled or not has_header(path):
        tensors = read_pth(path) if is_pickled else read_tensors(path)[0]
        with naming(path):
            config, lora = read_published(tensors)
    else:
        lora, header = load_weights(path, KIND, VERSION)
        with naming(path):
            config = known_settings(AdapterHeader, header).config
            check_lora(lora, config.lora.layers, config.lora.rank, config.model_width, config.model_depth)
    odd = sorted(name for name, tensor in lora.items() if not tensor.is_floating_point())
    if odd:
        with naming(path):
            raise SlotIDError(f"Its LoRA has whole numbers in {odd[0]}. The file is not usable.")
    return STDRCAdapter(config, lora, adapter_fingerprint(lora, config))
