"""LoRA tensors for Wan's cross-attention, under the keys that ComfyUI's own LoRA loader reads."""

import torch
from torch import Tensor, nn

from ..errors import SlotIDError


def lora_key(block: int, target: str) -> str:
    """Key prefix of one adapted linear, as in `diffusion_model.blocks.3.cross_attn.k`."""
    return f"diffusion_model.blocks.{block}.cross_attn.{target}"


def new_lora(config, model_width: int, model_depth: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
    """Fresh LoRA tensors that change nothing yet: A random, B zero, α explicit.

    Without the α of each module, loaders take the scale to be 1 rather than α / rank.
    """
    tensors = {}
    for block in range(model_depth):
        for target in config.targets:
            key = lora_key(block, target)
            down = torch.randn(config.rank, model_width, generator=generator) / model_width**0.5
            tensors[f"{key}.lora_A.weight"] = down
            tensors[f"{key}.lora_B.weight"] = torch.zeros(model_width, config.rank)
            tensors[f"{key}.alpha"] = torch.tensor(config.alpha)
    return tensors


def merge_lora(model: nn.Module, lora: dict[str, Tensor], strength: float = 1.0) -> None:
    """Add LoRA tensors, by their file keys, to the weights of a `WanModel` in place.

    Raises:
        SlotIDError: the tensors are for a model of another depth or width.
    """
    modules = dict(model.named_modules())
    for key in [key.removesuffix(".alpha") for key in lora if key.endswith(".alpha")]:
        down, up = lora[f"{key}.lora_A.weight"].float(), lora[f"{key}.lora_B.weight"].float()
        name = key.removeprefix("diffusion_model.")
        if name not in modules or modules[name].weight.shape != (len(up), down.shape[1]):
            raise SlotIDError(f"The LoRA has weights for {name} of width {down.shape[1]}; the model has none such.")
        weight = modules[name].weight
        change = strength * float(lora[f"{key}.alpha"]) / len(down) * (up @ down)
        weight.data += change.to(weight.device, weight.dtype)
