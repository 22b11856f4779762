"""Weights of a Wan model as people have them on disk: whole, in eight bits with scales, or as GGUF.

A matrix in eight bits stays as it is in the file: its values, and beside them the scale that they are to be multiplied
by. A GGUF's blocks of other widths are widened while they are read, one tensor after the other.
"""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..errors import SlotIDError
from ..weights import check_finite, read_shapes, read_tensors

T = TypeVar("T")
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "model.")
# Behind a layer's name: its scale in ComfyUI's first eight-bit files, and in those since.
SCALES = (".scale_weight", ".weight_scale")
FORMAT, METADATA = ".comfy_quant", "_quantization_metadata"  # of a layer, as JSON in bytes; of all, in the header
OTHERS = (".scale_input", ".input_scale", FORMAT)  # of activations, which are not in eight bits here
MARK = "scaled_fp8"
FORMATS = {
    "float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2, "int8_tensorwise": torch.int8,
}  # fmt: skip
EIGHT_BITS = tuple(FORMATS.values())
GGUF = ".gguf"
ARCHITECTURE = "wan"
SHAPE = "comfy.gguf.orig_shape."  # metadata of tensors with more axes than a GGUF stores


def read_stored(path: Path, eight_bits: bool = False) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Tensors by Wan's own names, and the scales of those that are in eight bits, by the same names.

    Args:
        eight_bits: put the large matrices of a GGUF into eight bits as they are read.

    Returns:
        tensors, and scales in float32, () or (out, 1).

    Raises:
        SlotIDError: the file is missing or damaged, no Wan model, or in a format that cannot be read here.
    """
    if path.suffix.lower() == GGUF:
        return read_gguf(path, eight_bits)
    tensors, metadata = read_tensors(path, check=False)
    tensors = without_prefix(tensors)
    formats = formats_of(tensors, metadata)
    scales = {}
    for key in [key for key in tensors if key.endswith(SCALES)]:
        layer = key.rpartition(".")[0]
        name, scale = f"{layer}.weight", tensors.pop(key).float()
        tensors[name] = eight_bit_values(name, tensors.get(name), formats.get(layer))
        scales[name] = scale_of(name, scale, tensors[name])
    tensors = {key: value for key, value in tensors.items() if key != MARK and not key.endswith(OTHERS)}
    unscaled = [name for name, value in tensors.items() if value.dtype in EIGHT_BITS and name not in scales]
    return tensors, scales | {name: torch.ones(()) for name in unscaled}


def shapes_of(path: Path) -> dict[str, Tensor]:
    """Tensors without memory by Wan's own names, of a file that is not read."""
    if path.suffix.lower() == GGUF:
        return {name: torch.empty(shape, device="meta") for name, shape, _ in tensors_of_gguf(path)}
    return without_prefix(read_shapes(path))


def without_prefix(named: dict[str, T]) -> dict[str, T]:
    """What is named by Wan's own names, whatever stands before them in the file."""
    for prefix in PREFIXES:
        if any(key.startswith(prefix) for key in named):
            return {key.removeprefix(prefix): value for key, value in named.items() if key.startswith(prefix)}
    return named


def formats_of(tensors: dict[str, Tensor], metadata: dict[str, str]) -> dict[str, str]:
    """The format of each layer that the file names one for.

    Raises:
        SlotIDError: one that is not read here, or words that are no JSON.
    """
    try:
        settings = without_prefix(dict(json.loads(metadata.get(METADATA, "{}")).get("layers", {})))
        for key, value in tensors.items():
            if key.endswith(FORMAT):
                settings[key.removesuffix(FORMAT)] = dict(json.loads(bytes(value.tolist())))
    except (ValueError, TypeError, AttributeError) as error:
        raise SlotIDError(f"What it says of its formats cannot be read ({error}). Download the file again.") from error
    for layer, given in settings.items():
        if given.get("format") not in FORMATS or given.get("convrot"):
            what = f"{given.get('format')}{', rotated' if given.get('convrot') else ''}"
            raise SlotIDError(
                f"The weights of {layer} are stored as {what}, which cannot be trained on. Give the bf16, the fp8 or "
                "the GGUF file of this model."
            )
    return {layer: given["format"] for layer, given in settings.items()}


def eight_bit_values(name: str, values: Tensor | None, told: str | None) -> Tensor:
    """The values beside a scale; bytes are what the layer's format says.

    Raises:
        SlotIDError: there are none, or they are not in eight bits.
    """
    if values is not None and values.dtype == torch.uint8 and told in FORMATS:
        values = values.view(FORMATS[told])
    if values is None or values.dtype not in EIGHT_BITS:
        raise SlotIDError(f"There is a scale for {name!r}, but no such matrix in eight bits. Download the file again.")
    return values


def scale_of(name: str, scale: Tensor, values: Tensor) -> Tensor:
    """The scale of a matrix (out, in): () of one for all, or (out, 1) of one a row.

    Raises:
        SlotIDError: of another size, or not a number.
    """
    if not bool(torch.isfinite(scale).all()):
        raise SlotIDError(f"The scale of {name!r} holds NaN or infinity. The file is not usable.")
    if scale.numel() == 1:
        return scale.reshape(())
    rows = len(values)
    if scale.numel() != rows:
        raise SlotIDError(f"The scale of {name!r} has shape {tuple(scale.shape)}, and the matrix has {rows} rows.")
    return scale.reshape(-1, 1)


def to_eight_bits(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix in float8 and its one scale, by which its largest value is the largest of the format.

    NaN or infinity in it is in the scale.
    """
    largest = torch.finfo(torch.float8_e4m3fn).max
    scale = weight.abs().amax().float().clamp_min(1e-12) / largest
    return (weight.float() / scale).to(torch.float8_e4m3fn), scale


def is_large(name: str, axes: int) -> bool:
    """Whether a tensor is a matrix of a block, which is nearly all of a model."""
    return name.startswith("blocks.") and name.endswith(".weight") and axes == 2


def read_gguf(path: Path, eight_bits: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """As `read_stored`, of a GGUF; what stays out of eight bits is in bfloat16 then, and else in float32."""
    gguf, tensors, scales = gguf_package(path), {}, {}
    for name, shape, stored in tensors_of_gguf(path):
        wide = torch.tensor(gguf.dequantize(stored.data, stored.tensor_type)).reshape(shape)
        if not eight_bits:
            tensors[name] = wide
        elif is_large(name, len(shape)):
            tensors[name], scales[name] = to_eight_bits(wide)
            check_finite({name: scales[name]})
        else:
            tensors[name] = wide.bfloat16()
    return tensors, scales


def gguf_package(path: Path) -> Any:
    try:
        return importlib.import_module("gguf")
    except ImportError as error:
        raise SlotIDError(f"The package that reads {path.name} is missing: pip install gguf") from error


def tensors_of_gguf(path: Path) -> Iterator[tuple[str, tuple[int, ...], Any]]:
    """Name, shape as PyTorch has it, and the reader's tensor, which is mapped from the file.

    Raises:
        SlotIDError: the package is not there, or the file is missing, damaged or of another model.
    """
    try:
        reader = gguf_package(path).GGUFReader(path)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise SlotIDError(f"{path.name} cannot be read as GGUF ({error}). It is damaged; download it again.") from error
    field = reader.get_field("general.architecture")
    architecture = field.contents() if field is not None else None
    if architecture != ARCHITECTURE:
        raise SlotIDError(f"{path.name} holds a model of {architecture}, not of Wan. Choose another file.")
    for stored in reader.tensors:
        shape = reader.get_field(f"{SHAPE}{stored.name}")
        yield stored.name, tuple(shape.contents() if shape is not None else reversed(stored.shape.tolist())), stored
