"""Stand-In's published LoRA (arXiv 2508.07901), read as an adapter of this room.

    blocks.{i}.self_attn.{q,k,v}_loras.{down,up}.weight      down (rank, width), up (width, rank), for each block i

There is no α: the scale is 1. The authors' .ckpt has these names, and so have its copies as safetensors; some packs put
`diffusion_model.` before them.
"""

import logging
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from ...errors import SlotIDError
from ...tensor_shapes import shape_of, shortened
from ...wan.lora import PREFIX, lora_key
from .config import STAND_IN, AdapterConfig, LoRAConfig

LAYERS = ("q", "k", "v")
NAME = re.compile(rf"(?:{re.escape(PREFIX)})?(blocks\.[0-9]{{1,4}}\.self_attn\.[qkv]_loras\.(?:down|up)\.weight)")
FIRST = "blocks.0.self_attn.q_loras.down.weight"
MOST_SHOWN = 3  # names in an error


def read_published(tensors: Mapping[str, Tensor]) -> tuple[AdapterConfig, dict[str, Tensor]]:
    """The settings of an adapter and its LoRA by file keys, from the tensors of Stand-In's file; nothing is copied.

    The number of layers found is logged.

    Raises:
        SlotIDError: not one tensor is of Stand-In, some of its layers are missing, or shapes do not fit each other.
    """
    found = {match[1]: tensor for name, tensor in tensors.items() if (match := NAME.fullmatch(name))}
    if not found:
        raise SlotIDError(_nothing_matched(tensors))
    depth = 1 + max(int(name.split(".")[1]) for name in found)
    first = min(found)
    down, up = first.replace(".up.", ".down."), first.replace(".down.", ".up.")
    rank, width = shape_of(found, down, 2)
    shape_of(found, up, 2)
    expected = {
        f"blocks.{block}.self_attn.{layer}_loras.{part}.weight": shape
        for block in range(depth)
        for layer in LAYERS
        for part, shape in (("down", (rank, width)), ("up", (width, rank)))
    }
    missing = [name for name in expected if name not in found]
    if missing:
        raise SlotIDError(
            f"Only {len(found)} of the {len(expected)} tensors of Stand-In's LoRA ({', '.join(LAYERS)} of {depth} "
            f"blocks, down and up) are there; missing: {_some(missing)}. The file is incomplete; download it again."
        )
    odd = [name for name, shape in expected.items() if tuple(found[name].shape) != shape]
    if odd:
        raise SlotIDError(
            f"{len(odd)} of the {len(expected)} tensors of Stand-In's LoRA have another shape than {first!r} asks for: "
            f"{odd[0]!r} has {tuple(found[odd[0]].shape)} in place of {expected[odd[0]]}. The file is damaged or "
            "mixed; download it again."
        )
    others = [name for name in tensors if not NAME.fullmatch(name)]
    if others or len(tensors) != len(found):
        raise SlotIDError(
            f"Beside Stand-In's LoRA the file has {_some(others or list(tensors))}, which no layer of Stand-In reads. "
            "Choose Stand-In's own file."
        )
    settings = LoRAConfig(rank=rank, alpha=float(rank), targets=LAYERS, tokens="reference")
    config = AdapterConfig(model_width=width, model_depth=depth, lora=settings, layout=STAND_IN)
    logging.info(
        "ST-DRC: Stand-In's LoRA, %d of %d layers (%s of %d blocks), rank %d, width %d",
        len(found) // 2, len(expected) // 2, ", ".join(LAYERS), depth, rank, width,
    )  # fmt: skip
    return config, _by_file_keys(found, depth, rank)


def _by_file_keys(found: Mapping[str, Tensor], depth: int, rank: int) -> dict[str, Tensor]:
    lora = {}
    for block in range(depth):
        for layer in LAYERS:
            key, name = lora_key(block, f"self_attn.{layer}"), f"blocks.{block}.self_attn.{layer}_loras"
            lora[f"{key}.lora_A.weight"] = found[f"{name}.down.weight"]
            lora[f"{key}.lora_B.weight"] = found[f"{name}.up.weight"]
            lora[f"{key}.alpha"] = torch.tensor(float(rank))
    return lora


def _nothing_matched(tensors: Mapping[str, Tensor]) -> str:
    found = "it is empty" if not tensors else f"the first of its {len(tensors)} tensors is {_some([min(tensors)])}"
    return (
        f"It is neither an ST-DRC adapter of this pack nor Stand-In's LoRA, whose first tensor is {FIRST!r}: {found}. "
        "Choose another file."
    )


def _some(names: list[str]) -> str:
    """The first of these names, and how many more there are."""
    more = len(names) - MOST_SHOWN
    return ", ".join(repr(shortened(name, 100)) for name in names[:MOST_SHOWN]) + (
        f" and {more} more" if more > 0 else ""
    )
