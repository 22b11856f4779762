"""Block replacements, chained: each wrapper runs the block as it was before the wrapper came."""

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor, nn


class Transformer(Protocol):
    """A Wan transformer, ours or ComfyUI's, as the hooks see it."""

    blocks: nn.ModuleList


class RunBlock:
    """The arguments of a block ("img", "txt", "vec", "pe", "transformer_options") -> hidden (B, N, D).

    `reached`: whether a call came to the block itself. What was installed before may leave the block out, as
    skip-layer guidance does, and then there is nothing to change behind it.
    """

    def __init__(self, previous: Callable | None, extra: dict):
        self._previous, self._extra = previous, extra
        self.reached = False

    def __call__(self, args: dict) -> Tensor:
        if self._previous is None:
            return self._block(args)["img"]
        return self._previous(args, {**self._extra, "original_block": self._block})["img"]

    def _block(self, args: dict) -> dict:
        self.reached = True
        return self._extra["original_block"](args)


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
        return {"img": wrapper(args, RunBlock(previous, extra))}

    return replace_block


def _inside(previous: Callable | None, wrapper: BlockWrapper) -> Callable:
    def replace_block(args: dict, extra: dict) -> dict:
        def wrapped(args: dict) -> dict:
            return {"img": wrapper(args, RunBlock(None, extra))}

        return wrapped(args) if previous is None else previous(args, {**extra, "original_block": wrapped})

    return replace_block
