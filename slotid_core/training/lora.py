"""LoRA on the backbone's cross-attention by PEFT, and its tensors under the keys of an adapter file."""

import torch
from torch import Tensor, nn

from ..errors import SlotIDError
from ..slot_id.adapter import LoRAConfig
from ..slot_id.lora import lora_key
from ..wan import WanModel

NAME = "default"


def add_lora(model: WanModel, config: LoRAConfig) -> None:
    """Freeze the model and put trainable LoRA layers, in float32, on its cross-attention; they change nothing yet."""
    import peft

    model.requires_grad_(False)
    targets = "|".join(config.targets)
    settings = peft.LoraConfig(
        r=config.rank, lora_alpha=config.alpha, target_modules=rf"blocks\.\d+\.cross_attn\.({targets})"
    )
    peft.inject_adapter_in_model(settings, model, NAME)
    for parameter in lora_parameters(model).values():
        parameter.data = parameter.data.float()


def lora_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if ".lora_" in name}


def exported_lora(tensors: dict[str, Tensor], config: LoRAConfig) -> dict[str, Tensor]:
    """Trained tensors by parameter name -> keys that ComfyUI's own LoRA loader reads, with each module's α."""
    exported = {}
    for name, tensor in tensors.items():
        _, block, _, target, part, *_ = name.split(".")  # blocks.3.cross_attn.k.lora_A.default.weight
        key = lora_key(int(block), target)
        exported[f"{key}.{part}.weight"] = tensor
        exported[f"{key}.alpha"] = torch.tensor(float(config.alpha))
    return exported


def put_lora(model: WanModel, tensors: dict[str, Tensor], config: LoRAConfig) -> None:
    """Tensors of an adapter file into the layers of `add_lora`.

    Raises:
        SlotIDError: they are for other layers, or of another rank or α.
    """
    own = exported_lora(lora_parameters(model), config)  # the parameters themselves
    if tensors.keys() != own.keys():
        raise SlotIDError(f"its LoRA and adapter.lora.targets differ in {min(tensors.keys() ^ own.keys())}")
    for key, parameter in own.items():
        given = tensors[key]
        if given.shape != parameter.shape or (key.endswith(".alpha") and given != parameter):
            raise SlotIDError(f"its LoRA has no {key} of rank {config.rank} and alpha {config.alpha:g}")
        parameter.data.copy_(given)
