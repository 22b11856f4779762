"""The frozen video model: read, cast, and, if asked, held in eight bits."""

import torch
from torch import Tensor, nn

from ..errors import SlotIDError
from ..model_files import model_file
from ..tensor_shapes import fill
from ..wan import WAN_1_3B, WAN_14B, WanConfig, WanModel
from ..weights import check_finite, naming, read_shapes, read_tensors
from .config import BackboneConfig

SHAPES = {"1.3B": WAN_1_3B, "14B": WAN_14B}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float8_e4m3fn": torch.float8_e4m3fn}
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "model.")


def load_backbone(config: BackboneConfig) -> WanModel:
    """The frozen model of a configuration, on the CPU.

    Raises:
        SlotIDError: no such file, not a Wan checkpoint, or one with NaN or infinity.
    """
    path = model_file(config.path, "dit")
    if not path.is_file():
        raise SlotIDError(f"There is no model file {path}. Correct model.path in the configuration.")
    tensors = without_prefix(read_tensors(path, check=False)[0])
    with naming(path):
        with torch.device("meta"):
            model = WanModel(WanConfig.from_state_dict(tensors))
        fill(model, tensors, "a Wan model that can be trained on")
        model.requires_grad_(False)
        model.activation_checkpointing = config.activation_checkpointing
        return cast(model, DTYPES[config.dtype])


def meta_backbone(config: BackboneConfig) -> WanModel:
    """The same without weights, from the file's header or from `config.shape`; for counting."""
    path = model_file(config.path, "dit")
    if path.is_file():
        with naming(path):
            shape = WanConfig.from_state_dict(without_prefix(read_shapes(path)))
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


def without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by Wan's own names, whatever stands before them in the file."""
    for prefix in PREFIXES:
        if any(key.startswith(prefix) for key in tensors):
            return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    return tensors


def cast(model: WanModel, dtype: torch.dtype) -> WanModel:
    """The model in `dtype`; eight bits are for the large matrices of the blocks only, the rest is then bfloat16.

    Each weight is looked at for NaN where it is cast: the file is mapped and may be larger than the memory, so that a
    look of its own would fetch it twice. Eight bits need the largest value of a matrix anyway, which NaN would be.

    Raises:
        SlotIDError: a weight holds NaN or infinity.
    """
    eight_bits = dtype == torch.float8_e4m3fn
    large = {
        f"blocks.{number}.{name}": module
        for number, block in enumerate(model.blocks)
        for name, module in block.named_modules()
        if eight_bits and isinstance(module, nn.Linear)
    }
    for name, parameter in model.named_parameters():
        if name.removesuffix(".weight") not in large:
            check_finite({name: parameter})
        parameter.data = parameter.data.to(torch.bfloat16 if eight_bits else dtype)
    for name, module in large.items():
        parent, _, last = name.rpartition(".")
        model.get_submodule(parent)._modules[last] = EightBitLinear(module, name)
    return model


class EightBitLinear(nn.Linear):
    """A frozen linear layer whose weight is stored as float8 with one scale, and computed with as bfloat16."""

    def __init__(self, source: nn.Linear, name: str = "a layer"):
        nn.Module.__init__(self)
        self.in_features, self.out_features = source.in_features, source.out_features
        weight = source.weight.detach()
        largest = torch.finfo(torch.float8_e4m3fn).max
        scale = weight.abs().amax().float().clamp_min(1e-12) / largest
        check_finite({f"{name}.weight": scale})
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
