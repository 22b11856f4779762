"""Block replacements, chained: each wrapper runs the block as it was before the wrapper came."""

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor, nn


class Transformer(Protocol):
    """A Wan transformer, ours or ComfyUI's, as the hooks see it."""

    blocks: nn.ModuleList


# The arguments of a block ("img", "txt", "vec", "pe", "transformer_options") -> hidden (B, N, D).
RunBlock = Callable[[dict], Tensor]
# (arguments, run) -> hidden.
BlockWrapper = Callable[[dict, RunBlock], Tensor]


def wrap_blocks(options: dict, wrappers: Mapping[int, BlockWrapper], inside: bool = False) -> dict:
    """A copy of `options` under which each block of `wrappers` runs inside its wrapper.

    Args:
        wrappers: block index -> wrapper.
        inside: run between the block and the replacements that are installed already, which may run the block more
            than once, on parts of the batch. By default the wrapper runs outside of them.
    """
    replacements = dict(options.get("patches_replace", {}).get("dit", {}))
    for index, wrapper in wrappers.items():
        key = ("double_block", index)
        chain = _inside if inside else _outside
        replacements[key] = chain(replacements.get(key), wrapper)
    return {**options, "patches_replace": {**options.get("patches_replace", {}), "dit": replacements}}


def _outside(previous: Callable | None, wrapper: BlockWrapper) -> Callable:
    def replace_block(args: dict, extra: dict) -> dict:
        def run(args: dict) -> Tensor:
            out = extra["original_block"](args) if previous is None else previous(args, extra)
            return out["img"]

        return {"img": wrapper(args, run)}

    return replace_block


def _inside(previous: Callable | None, wrapper: BlockWrapper) -> Callable:
    def replace_block(args: dict, extra: dict) -> dict:
        def wrapped(args: dict) -> dict:
            return {"img": wrapper(args, lambda args: extra["original_block"](args)["img"])}

        return wrapped(args) if previous is None else previous(args, {**extra, "original_block": wrapped})

    return replace_block
