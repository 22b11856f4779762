"""The frozen video model: read, cast, and, if asked, held in eight bits."""

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from ..errors import SlotIDError
from ..model_files import model_file
from ..wan import WAN_1_3B, WAN_14B, WanConfig, WanModel
from .config import BackboneConfig

SHAPES = {"1.3B": WAN_1_3B, "14B": WAN_14B}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float8_e4m3fn": torch.float8_e4m3fn}
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "model.")


def load_backbone(config: BackboneConfig) -> WanModel:
    """The frozen model of a configuration, on the CPU.

    Raises:
        SlotIDError: no such file, or not a Wan checkpoint.
    """
    path = model_file(config.path, "dit")
    tensors = read_tensors(path)
    with torch.device("meta"):
        model = WanModel(WanConfig.from_state_dict(tensors))
    try:
        model.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise SlotIDError(f"{path.name} is not a Wan model that can be trained on: {error}") from error
    model.requires_grad_(False)
    model.activation_checkpointing = config.activation_checkpointing
    return cast(model, DTYPES[config.dtype])


def meta_backbone(config: BackboneConfig) -> WanModel:
    """The same without weights, from the file's header or from `config.shape`; for counting."""
    path = model_file(config.path, "dit")
    if path.is_file():
        shape = WanConfig.from_state_dict(read_tensors(path, "meta"))
    elif config.shape:
        shape = SHAPES[config.shape]
    else:
        raise SlotIDError(
            f"There is no model file {config.path}. Correct model.path, or set model.shape to '1.3B' or '14B' to count "
            "without the file."
        )
    with torch.device("meta"):
        model = WanModel(shape)
    return cast(model.requires_grad_(False), DTYPES[config.dtype])


def read_tensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    if not path.is_file():
        raise SlotIDError(f"There is no model file {path}. Correct model.path in the configuration.")
    try:
        with safe_open(path, framework="pt") as file:
            if device == "meta":
                tensors = {key: torch.empty(file.get_slice(key).get_shape(), device="meta") for key in file.keys()}  # noqa: SIM118
            else:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise SlotIDError(f"{path.name} cannot be read as safetensors: {error}") from error
    for prefix in PREFIXES:
        if any(key.startswith(prefix) for key in tensors):
            return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    return tensors


def cast(model: WanModel, dtype: torch.dtype) -> WanModel:
    """The model in `dtype`; eight bits are for the large matrices of the blocks only, the rest is then bfloat16."""
    if dtype != torch.float8_e4m3fn:
        return model.to(dtype)
    model.to(torch.bfloat16)
    for block in model.blocks:
        for name, module in list(block.named_modules()):
            if isinstance(module, nn.Linear):
                block.get_submodule(name.rpartition(".")[0])._modules[name.rpartition(".")[2]] = EightBitLinear(module)
    return model


class EightBitLinear(nn.Linear):
    """A frozen linear layer whose weight is stored as float8 with one scale, and computed with as bfloat16."""

    def __init__(self, source: nn.Linear):
        nn.Module.__init__(self)
        self.in_features, self.out_features = source.in_features, source.out_features
        weight = source.weight.detach()
        largest = torch.finfo(torch.float8_e4m3fn).max
        scale = weight.abs().amax().float().clamp_min(1e-12) / largest
        self.weight = nn.Parameter((weight.float() / scale).to(torch.float8_e4m3fn), requires_grad=False)
        self.bias = source.bias
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        return EightBitProduct.apply(x, self.weight, self.scale, self.bias)


class EightBitProduct(torch.autograd.Function):
    """A frozen linear layer that keeps its eight-bit weight for the backward pass, not the wider copy of it."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight, scale)
        ctx.dtype = x.dtype
        return nn.functional.linear(x, weight.to(x.dtype) * scale.to(x.dtype), bias)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        weight, scale = ctx.saved_tensors
        wide = weight.to(ctx.dtype) * scale.to(ctx.dtype)
        return gradient @ wide.to(gradient.dtype), None, None, None
