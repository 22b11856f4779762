"""Tokens appended to the video's for all blocks, with positions, modulation and LoRA of their own.

They join after the patch embedding and are stripped behind the last block, so that neither the input's channels nor
the head need to know. What enters a block is what its norms see.
"""

import math
from collections.abc import Hashable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from .attention import Attention, change_self_attention
from .blocks import BlockWrapper, RunBlock, Transformer, wrap_blocks
from .cache import RunCache
from .rows import rows_running

Attends = Literal["all", "itself"]


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
        rows: (B,) boolean, the rows of the batch whose video attends to the tokens; None for all.
        attends: what the appended tokens attend to in self-attention; the video attends to both in either case.
        reads_text: False leaves the appended tokens out of cross-attention.
        weight: how far the video's self-attention goes from reading itself alone, 0, to reading the tokens as well, 1.
            Any other value takes a second self-attention.
    """

    tokens: Tensor
    rotary: Tensor
    modulation: Tensor | None = None
    lora: Mapping[int, Mapping[str, TokenLoRA]] = field(default_factory=dict)
    rows: Tensor | None = None
    attends: Attends = "all"
    reads_text: bool = True
    weight: float = 1.0

    @property
    def is_constant(self) -> bool:
        """Whether keys and values of the tokens are the same in every step and under every prompt."""
        return self.attends == "itself" and not self.reads_text and self.modulation is not None


@dataclass(frozen=True)
class KeptKeys:
    """Where keys and values of constant tokens are kept, so that later passes of a run do not compute them.

    `key` names what they depend on: the network, the tokens and their positions.
    """

    cache: RunCache
    key: Hashable

    def of_block(self, index: int) -> Hashable:
        return (self.key, index)


def append_tokens(
    options: dict, transformer: Transformer, appended: AppendedTokens, kept: KeptKeys | None = None
) -> dict:
    """A copy of `options` under which every block of `transformer` runs with the tokens behind the video's.

    Args:
        kept: for constant tokens, of which there is one set for all rows. Where every block's keys are there already,
            the video attends to these, and no token is appended.
    """
    rows = None if appended.rows is None or bool(appended.rows.all()) else appended.rows.bool().cpu()
    if not appended.weight or (rows is not None and not rows.any()):
        return options
    if kept is not None and not (appended.is_constant and len(appended.tokens) == 1):
        raise ValueError("Only keys of constant tokens, the same for all rows, can be kept.")
    indices = range(len(transformer.blocks))
    if kept is not None and all(kept.cache.holds(kept.of_block(index)) for index in indices):
        readers = {index: _read_kept(appended.weight, kept, index, rows) for index in indices}
        return wrap_blocks(options, readers, inside=True)
    wrappers = {index: _wrapper(block, appended, index, indices) for index, block in enumerate(transformer.blocks)}
    if appended.attends == "itself" or appended.weight != 1 or rows is not None:
        options = wrap_blocks(options, {index: _attend(appended, rows, kept, index) for index in indices}, inside=True)
    return wrap_blocks(options, wrappers)


def _wrapper(block: nn.Module, appended: AppendedTokens, index: int, indices: range) -> BlockWrapper:
    count = appended.tokens.shape[1]

    def run_with_tokens(args: dict, run: RunBlock) -> Tensor:
        hidden, options = args["img"], args["transformer_options"]
        if index == indices[0]:
            hidden = torch.cat([hidden, per_row(appended.tokens, options, hidden)], dim=1)
        positions = torch.cat([args["pe"], appended.rotary.to(args["pe"])], dim=1)
        modulation = joined_modulation(args["vec"], appended.modulation, options, hidden.shape[1] - count, count)
        last = slice(-count, None)
        with lora_on(block, appended.lora.get(index, {}), last), text_without(block, last, appended.reads_text):
            hidden = run({**args, "img": hidden, "pe": positions, "vec": modulation})
        return hidden[:, :-count] if index == indices[-1] else hidden

    return run_with_tokens


def _attend(appended: AppendedTokens, all_rows: Tensor | None, kept: KeptKeys | None, index: int) -> BlockWrapper:
    """Self-attention of a block in which not everything attends to everything."""
    count, own = appended.tokens.shape[1], appended.attends == "itself"

    def run_block(args: dict, run: RunBlock) -> Tensor:
        rows = None if all_rows is None else rows_running(args["transformer_options"], all_rows)

        def change(attention: Attention, q: Tensor, k: Tensor, v: Tensor, sample: int | None) -> Tensor:
            (video_q, video_k, video_v), (last_q, last_k, last_v) = (
                [t[:, part] for t in (q, k, v)] for part in (slice(-count), slice(-count, None))
            )
            if kept is not None:
                # A copy: a view would hold the video's keys in memory for the whole run.
                kept.cache.get(kept.of_block(index), lambda: (last_k[:1].clone(), last_v[:1].clone()))
            out = video_attention(attention, video_q, video_k, video_v, last_k, last_v, rows, appended.weight)
            last = attention(last_q, last_k, last_v) if own else attention(last_q, k, v)
            return torch.cat([out, last], dim=1)

        return run(change_self_attention(args, change))

    return run_block


def _read_kept(weight: float, kept: KeptKeys, index: int, all_rows: Tensor | None) -> BlockWrapper:
    """A block whose video attends to kept keys and values besides its own."""
    key, value = kept.cache.get(kept.of_block(index), tuple)

    def run_block(args: dict, run: RunBlock) -> Tensor:
        rows = None if all_rows is None else rows_running(args["transformer_options"], all_rows)

        def change(attention: Attention, q: Tensor, k: Tensor, v: Tensor, sample: int | None) -> Tensor:
            more_k, more_v = key.to(k).expand(len(k), -1, -1), value.to(v).expand(len(v), -1, -1)
            return video_attention(attention, q, k, v, more_k, more_v, rows, weight)

        return run(change_self_attention(args, change))

    return run_block


def video_attention(
    attention: Attention, q: Tensor, k: Tensor, v: Tensor, more_k: Tensor, more_v: Tensor, rows: Tensor | None,
    weight: float,
) -> Tensor:  # fmt: skip
    """q, k, v (B, N, D) of the video, which reads `more` (B, M, D) besides in `rows` (B,) alone -> (B, N, D)."""
    if rows is not None and not rows.all():
        without = attention(q[~rows], k[~rows], v[~rows])
        out = without.new_empty(q.shape)  # autocast gives a result of another precision than the queries
        out[~rows] = without
        if rows.any():
            out[rows] = video_attention(
                attention, q[rows], k[rows], v[rows], more_k[rows], more_v[rows], rows=None, weight=weight
            )
        return out
    both = attention(q, torch.cat([k, more_k], dim=1), torch.cat([v, more_v], dim=1))
    return both if weight == 1 else torch.lerp(attention(q, k, v), both, weight)


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
def text_without(block: nn.Module, chosen: slice | Tensor, reads_text: bool) -> Iterator[None]:
    """While this is open, cross-attention adds nothing to the tokens `chosen`, unless they read the text."""

    def leave_out(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        output = output.clone()
        output[:, chosen] = 0
        return output

    with ExitStack() as hooks:
        if not reads_text:
            hooks.callback(block.get_submodule("cross_attn").register_forward_hook(leave_out).remove)
        yield


@contextmanager
def lora_on(block: nn.Module, lora: Mapping[str, TokenLoRA], chosen: slice | Tensor) -> Iterator[None]:
    """While this is open, named layers of the block change the tokens `chosen` by a LoRA; weights stay as they are, and
    the hooks are gone when it closes or raises."""

    def hook_of(change: TokenLoRA):
        def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            tokens = inputs[0][:, chosen]
            down, up = change.down.to(tokens), change.up.to(tokens)
            changed = output.clone()
            changed[:, chosen] = changed[:, chosen] + change.scale * (tokens @ down.T @ up.T)
            return changed

        return add

    with ExitStack() as hooks:
        for name, change in lora.items():
            hooks.callback(block.get_submodule(name).register_forward_hook(hook_of(change)).remove)
        yield
