"""LoRA on linear layers of Wan's blocks: trained by PEFT, kept under the keys that ComfyUI's own LoRA loader reads.

A target names a layer inside a block, such as "cross_attn.k" or "self_attn.q".
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..errors import SlotIDError
from ..tensor_shapes import shortened
from .model import WanModel

LINEAR_LAYERS = ("q", "k", "v", "o")  # of either attention in a block
NAME = "default"
PREFIX = "diffusion_model."


def lora_key(block: int, target: str) -> str:
    """Key prefix of one adapted layer, as in `diffusion_model.blocks.3.cross_attn.k`."""
    return f"{PREFIX}blocks.{block}.{target}"


def new_lora(
    targets: Sequence[str], rank: int, alpha: float, width: int, depth: int, generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """Fresh LoRA tensors that change nothing yet: A random, B zero, α explicit; for layers of `width` x `width`.

    Without the α of each module, loaders take the scale to be 1 rather than α / rank.
    """
    tensors = {}
    for block in range(depth):
        for target in targets:
            key = lora_key(block, target)
            down = torch.randn(rank, width, generator=generator) / width**0.5
            tensors[f"{key}.lora_A.weight"] = down
            tensors[f"{key}.lora_B.weight"] = torch.zeros(width, rank)
            tensors[f"{key}.alpha"] = torch.tensor(alpha)
    return tensors


def check_lora(lora: Mapping[str, Tensor], targets: Sequence[str], rank: int, width: int, depth: int) -> None:
    """Raises a SlotIDError unless these are the tensors of `new_lora` by names and shapes."""
    parts = {"lora_A.weight": (rank, width), "lora_B.weight": (width, rank), "alpha": ()}
    expected = {
        f"{lora_key(block, target)}.{part}": shape
        for block in range(depth)
        for target in targets
        for part, shape in parts.items()
    }
    found = {name: tuple(tensor.shape) for name, tensor in lora.items()}
    odd = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if odd:
        raise SlotIDError(
            f"The LoRA has {shortened(odd[0])} of shape {found.get(odd[0])}, where its settings ask for "
            f"{expected.get(odd[0])} (rank {rank}, width {width}, {depth} blocks)."
        )


def merge_lora(model: nn.Module, lora: Mapping[str, Tensor], strength: float = 1.0) -> None:
    """Add LoRA tensors, by their file keys, to the weights of a `WanModel` in place.

    Raises:
        SlotIDError: the tensors are for a model of another depth or width.
    """
    modules = dict(model.named_modules())
    for key in [key.removesuffix(".alpha") for key in lora if key.endswith(".alpha")]:
        down, up = lora[f"{key}.lora_A.weight"].float(), lora[f"{key}.lora_B.weight"].float()
        name = key.removeprefix(PREFIX)
        weight = modules[name].get_parameter("weight") if name in modules else None
        if weight is None or weight.shape != (len(up), down.shape[1]):
            raise SlotIDError(f"The LoRA has weights for {name} of width {down.shape[1]}; the model has none such.")
        change = strength * float(lora[f"{key}.alpha"]) / len(down) * (up @ down)
        weight.data += change.to(weight.device, weight.dtype)


def add_lora(model: WanModel, targets: Sequence[str], rank: int, alpha: float) -> None:
    """Freeze the model and put trainable LoRA layers, in float32, on its blocks; they change nothing yet."""
    import peft

    model.requires_grad_(False)
    names = "|".join(target.replace(".", r"\.") for target in targets)
    layers = rf"blocks\.\d+\.({names})"
    # PEFT annotates α as an integer but only divides it by the rank.
    settings = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=layers)  # pyright: ignore[reportArgumentType]
    peft.inject_adapter_in_model(settings, model, NAME)
    for parameter in lora_parameters(model).values():
        parameter.data = parameter.data.float()


@contextmanager
def without_lora(model: nn.Module) -> Iterator[None]:
    """The model as it was before `add_lora`, for the passes inside; also of a model without LoRA."""
    if not lora_parameters(model):
        yield
        return
    from peft.helpers import rescale_adapter_scale

    with rescale_adapter_scale(model, 0.0):
        yield


def lora_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if ".lora_" in name}


def exported_lora(tensors: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Trained tensors by parameter name -> file keys, with each module's α."""
    exported = {}
    for name, tensor in tensors.items():
        layer, _, part = name.partition(".lora_")  # blocks.3.cross_attn.k.lora_A.default.weight
        exported[f"{PREFIX}{layer}.lora_{part.split('.')[0]}.weight"] = tensor
        exported[f"{PREFIX}{layer}.alpha"] = torch.tensor(float(alpha))
    return exported


def put_lora(model: WanModel, tensors: Mapping[str, Tensor], rank: int, alpha: float) -> None:
    """Tensors of an adapter file into the layers of `add_lora`.

    Raises:
        SlotIDError: they are for other layers, or of another rank or α.
    """
    own = exported_lora(lora_parameters(model), alpha)  # the parameters themselves
    if tensors.keys() != own.keys():
        raise SlotIDError(f"its LoRA and adapter.lora.targets differ in {min(tensors.keys() ^ own.keys())}")
    for key, parameter in own.items():
        given = tensors[key]
        if given.shape != parameter.shape or (key.endswith(".alpha") and given != parameter):
            raise SlotIDError(f"its LoRA has no {key} of rank {rank} and alpha {alpha:g}")
        parameter.data.copy_(given)
