"""The two layouts in which Lynx's attention layers are published, read into one: block number -> tensors.

    official   {i}.to_k_ip.weight             i counts the adapted blocks: all of them (full), or every second (lite)
    repacked   blocks.{n}.cross_attn.ip_adapter.to_k_ip.weight, blocks.{n}.self_attn.ref_adapter.to_k_ref.weight;
               n is the block itself

The tensors show the variant of a file: only the full ID layers have registers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ...errors import SlotIDError
from ...tensor_shapes import shape_of, shortened

Part = Literal["ip", "ref"]
WHERE = {"ip": "cross_attn.ip_adapter", "ref": "self_attn.ref_adapter"}
TITLES = {"ip": "ID adapter", "ref": "Ref adapter"}
LITE_STRIDE = 2
LONGEST_NUMBER = 4  # digits of a block's
AXES = {"to_k.weight": 2, "to_v.weight": 2, "to_k.bias": 1, "to_v.bias": 1, "registers": 3}


@dataclass(frozen=True)
class AdapterLayers:
    """Tensors of one adapter by block: "to_k.weight", "to_v.weight", and where they exist biases and "registers"."""

    part: Part
    blocks: dict[int, dict[str, Tensor]]

    @property
    def has_registers(self) -> bool:
        return "registers" in next(iter(self.blocks.values()))


def holds(tensors: Mapping[str, Tensor], part: Part) -> bool:
    """Whether any tensor is a layer of this part."""
    return any(f"to_k_{part}." in key for key in tensors)


def read_layers(tensors: Mapping[str, Tensor], part: Part) -> AdapterLayers:
    """Sort a file's tensors into blocks.

    Raises:
        SlotIDError: not one tensor belongs to this part, or a block is incomplete or of another shape.
    """
    names = rf"(?:(to_[kv])_{part}\.(weight|bias)|({'registers' if part == 'ip' else '(?!)'}))"
    official = re.compile(rf"([0-9]+)\.{names}")
    repacked = re.compile(rf"(?:diffusion_model\.)?blocks\.([0-9]+)\.{re.escape(WHERE[part])}\.{names}")
    for layout in (official, repacked):
        blocks: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            if match := layout.fullmatch(key):
                number, linear, kind, registers = match.groups()
                if len(number) > LONGEST_NUMBER:
                    raise SlotIDError(f"The tensor {shortened(key)!r} is of no block. The file is damaged.")
                blocks.setdefault(int(number), {})[registers or f"{linear}.{kind}"] = tensor
        if blocks:
            layers = AdapterLayers(part, blocks)
            _check(layers)
            if layout is official and part == "ip" and not layers.has_registers:
                layers = AdapterLayers(part, {LITE_STRIDE * index: block for index, block in blocks.items()})
            return layers
    raise SlotIDError(_nothing_matched(tensors, part))


def _check(layers: AdapterLayers) -> None:
    shapes = {
        number: {name: tuple(tensor.shape) for name, tensor in block.items()} for number, block in layers.blocks.items()
    }
    usual = shapes[min(shapes)]
    if not {"to_k.weight", "to_v.weight"} <= set(usual):
        raise SlotIDError(f"The {TITLES[layers.part]} file has keys without values or the reverse: {sorted(usual)}.")
    for name, axes in AXES.items():
        if name in usual:
            shape_of(layers.blocks[min(shapes)], name, axes)
    odd = [number for number, found in shapes.items() if found != usual]
    if odd:
        raise SlotIDError(
            f"The {TITLES[layers.part]} file is damaged or mixed: layer {odd[0]} has {shapes[odd[0]]} where others "
            f"have {usual}. Download it again."
        )


def _nothing_matched(tensors: Mapping[str, Tensor], part: Part) -> str:
    found = "it is empty" if not tensors else f"its first tensor is {shortened(next(iter(tensors)))!r}"
    for other in WHERE:
        if other != part and any(f"to_k_{other}." in key for key in tensors):
            found = f"it holds the {TITLES[other]}"
    if "latents" in tensors:
        found = "it is a resampler"
    return f"No layer of Lynx's {TITLES[part]} is in this file: {found}. Choose the right file at each input."
