"""Tokens appended to the video's for all blocks, with positions, modulation and LoRA of their own.

They join after the patch embedding and are stripped behind the last block, so that neither the input's channels nor
the head need to know. What enters a block is what its norms see.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .blocks import BlockWrapper, RunBlock, Transformer, wrap_blocks
from .rows import rows_running


@dataclass(frozen=True)
class TokenLoRA:
    """Low-rank change of one linear layer, for appended tokens alone: down (r, D), up (D', r), α / r as `scale`."""

    down: Tensor
    up: Tensor
    scale: float = 1.0


@dataclass(frozen=True)
class AppendedTokens:
    """M tokens behind the N of the video.

    Attributes:
        tokens: (B or 1, M, D), after the patch embedding.
        rotary: (1, M, 1, d/2, 2, 2), as `rope.rotary_matrices` gives it.
        modulation: (B or 1, 1, 6, D) in place of the noise level's; None for the video's own. A model with a noise
            level for each frame has none to share, so it needs one.
        lora: block index -> name of a linear layer in the block, such as "self_attn.q" -> its change.
    """

    tokens: Tensor
    rotary: Tensor
    modulation: Tensor | None = None
    lora: Mapping[int, Mapping[str, TokenLoRA]] = field(default_factory=dict)


def append_tokens(options: dict, transformer: Transformer, appended: AppendedTokens) -> dict:
    """A copy of `options` under which every block of `transformer` runs with the tokens behind the video's."""
    last = len(transformer.blocks) - 1
    wrappers = {
        index: _wrapper(block, appended, index, index == 0, index == last)
        for index, block in enumerate(transformer.blocks)
    }
    return wrap_blocks(options, wrappers)


def _wrapper(block: nn.Module, appended: AppendedTokens, index: int, is_first: bool, is_last: bool) -> BlockWrapper:
    count = appended.tokens.shape[1]

    def run_with_tokens(args: dict, run: RunBlock) -> Tensor:
        hidden, options = args["img"], args["transformer_options"]
        if is_first:
            hidden = torch.cat([hidden, per_row(appended.tokens, options, hidden)], dim=1)
        positions = torch.cat([args["pe"], appended.rotary.to(args["pe"])], dim=1)
        modulation = joined_modulation(args["vec"], appended.modulation, options, hidden.shape[1] - count, count)
        with lora_on_last(block, appended.lora.get(index, {}), count):
            hidden = run({**args, "img": hidden, "pe": positions, "vec": modulation})
        return hidden[:, :-count] if is_last else hidden

    return run_with_tokens


def per_row(values: Tensor, options: dict, like: Tensor) -> Tensor:
    """(B or 1, ...) -> one for each row of the batch that runs, in the precision of `like`."""
    chosen = values if len(values) == 1 else rows_running(options, values)
    return chosen.to(like).expand(len(like), *values.shape[1:])


def joined_modulation(time: Tensor, own: Tensor | None, options: dict, num_video: int, num_appended: int) -> Tensor:
    """time (B, 1 or frames, 6, D) of the video and `own` of the appended tokens -> (B, parts, 6, D).

    A block gives each part the same number of tokens, so a part is as long as divides both. Time without frames and
    without `own` is shared as it is.
    """
    frames = time.shape[1]
    if own is None and frames == 1:
        return time
    if own is None:
        raise ValueError("A model with a noise level for each frame needs a modulation for the appended tokens.")
    length = math.gcd(num_video // frames, num_appended)
    video = time.repeat_interleave(num_video // frames // length, dim=1)
    appended = per_row(own, options, time).expand(-1, num_appended // length, -1, -1)
    return torch.cat([video, appended], dim=1)


@contextmanager
def lora_on_last(block: nn.Module, lora: Mapping[str, TokenLoRA], count: int) -> Iterator[None]:
    """While this is open, named layers of the block change their last `count` tokens by a LoRA; weights stay as they
    are, and the hooks are gone when it closes or raises."""

    def hook_of(change: TokenLoRA):
        def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            tokens = inputs[0][:, -count:]
            down, up = change.down.to(tokens), change.up.to(tokens)
            return torch.cat([output[:, :-count], output[:, -count:] + change.scale * (tokens @ down.T @ up.T)], dim=1)

        return add

    with ExitStack() as hooks:
        for name, change in lora.items():
            hooks.callback(block.get_submodule(name).register_forward_hook(hook_of(change)).remove)
        yield
