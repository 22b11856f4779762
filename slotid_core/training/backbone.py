"""The frozen video model: read, cast, and, if asked, held in eight bits."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..errors import SlotIDError
from ..model_files import model_file
from ..tensor_shapes import fill
from ..wan import WAN_1_3B, WAN_14B, WanConfig, WanModel
from ..weights import check_finite, naming
from .config import BackboneConfig
from .stored_weights import read_stored, shapes_of, to_eight_bits

SHAPES = {"1.3B": WAN_1_3B, "14B": WAN_14B}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float8_e4m3fn": torch.float8_e4m3fn}


def load_backbone(config: BackboneConfig) -> WanModel:
    """The frozen model of a configuration, on the CPU.

    Raises:
        SlotIDError: no such file, not a Wan checkpoint, one in a format that is not read, or with NaN or infinity.
    """
    path, dtype = model_file(config.path, "dit"), DTYPES[config.dtype]
    if not path.is_file():
        raise SlotIDError(f"There is no model file {path}. Correct model.path in the configuration.")
    with naming(path):
        tensors, scales = read_stored(path, dtype == torch.float8_e4m3fn)
        with torch.device("meta"):
            model = WanModel(WanConfig.from_state_dict(tensors)).requires_grad_(False)
        fill(model, tensors, "a Wan model that can be trained on")
        model.activation_checkpointing = config.activation_checkpointing
        return cast(model, dtype, scales)


def meta_backbone(config: BackboneConfig) -> WanModel:
    """The same without weights, from the file's header or from `config.shape`; for counting."""
    path = model_file(config.path, "dit")
    if path.is_file():
        with naming(path):
            shape = WanConfig.from_state_dict(shapes_of(path))
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


def cast(model: WanModel, dtype: torch.dtype, scales: Mapping[str, Tensor] | None = None) -> WanModel:
    """The model in `dtype`; eight bits are for the large matrices of the blocks only, the rest is then bfloat16.

    Each weight is looked at for NaN where it is cast: the file is mapped and may be larger than the memory, so that a
    look of its own would fetch it twice. Eight bits need the largest value of a matrix anyway, which NaN would be.

    Args:
        scales: of the weights that are in eight bits already, which stay as they are where `dtype` is of eight bits.

    Raises:
        SlotIDError: a weight holds NaN or infinity.
    """
    eight_bits, scales = dtype == torch.float8_e4m3fn, scales or {}
    large = {
        f"blocks.{number}.{name}": module
        for number, block in enumerate(model.blocks)
        for name, module in block.named_modules()
        if eight_bits and isinstance(module, nn.Linear)
    }
    for name, parameter in model.named_parameters():
        is_large = name.removesuffix(".weight") in large
        if name in scales or not is_large:
            check_finite({name: parameter})
        if name in scales and is_large:
            continue
        scale = scales.get(name)
        wide = parameter.data if scale is None else parameter.data.float() * scale
        parameter.data = wide.to(torch.bfloat16 if eight_bits else dtype)
    for name, module in large.items():
        parent, _, last = name.rpartition(".")
        stored = EightBitLinear(module, name, scales.get(f"{name}.weight"))
        model.get_submodule(parent)._modules[last] = stored
    return model


class EightBitLinear(nn.Linear):
    """A frozen linear layer whose weight is stored in eight bits, and computed with as bfloat16.

    Args:
        scale: of a weight that is in eight bits already, () or (out, 1); None to bring it there.
    """

    scale: Tensor

    def __init__(self, source: nn.Linear, name: str = "a layer", scale: Tensor | None = None):
        nn.Module.__init__(self)
        self.in_features, self.out_features = source.in_features, source.out_features
        values = source.weight.detach()
        if scale is None:
            values, scale = to_eight_bits(values)
            check_finite({f"{name}.weight": scale})
        self.weight = nn.Parameter(values, requires_grad=False)
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
