"""Tokens appended to the video's for all blocks, with positions, modulation and LoRA of their own.

They join after the patch embedding and are stripped behind the last block, so that neither the input's channels nor
the head need to know. What enters a block is what its norms see.
"""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from .attention import Attention, change_attention
from .blocks import BlockWrapper, RunBlock, Transformer, wrap_blocks
from .cache import RunCache
from .reads import Read, attend_with
from .regions import TokenRegion, rows_by_pattern
from .rows import SHARED_KEY, rows_running

Attends = Literal["all", "itself"]
SETS = "token_sets"


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
        region: the tokens of the video that attend to these, and to which these attend; None for all.
    """

    tokens: Tensor
    rotary: Tensor
    modulation: Tensor | None = None
    lora: Mapping[int, Mapping[str, TokenLoRA]] = field(default_factory=dict)
    rows: Tensor | None = None
    attends: Attends = "all"
    reads_text: bool = True
    weight: float = 1.0
    region: TokenRegion | None = None

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


@dataclass(frozen=True)
class TokenSet:
    """Appended tokens as a pass notes them: one person's, of those that all hooks of the pass append together.

    `is_kept`: their keys are there already, so that they are read without being in the sequence.
    """

    appended: AppendedTokens
    rows: Tensor | None
    kept: KeptKeys | None
    is_kept: bool

    @property
    def count(self) -> int:
        return self.appended.tokens.shape[1]

    @property
    def is_plain(self) -> bool:
        """Whether everything may read everything, so that attention needs no change."""
        one = self.appended
        is_open = one.attends == "all" and one.weight == 1 and one.region is None and self.rows is None
        return is_open and not self.is_kept


def append_tokens(
    options: dict, transformer: Transformer, appended: AppendedTokens, kept: KeptKeys | None = None
) -> dict:
    """A copy of `options` under which every block of `transformer` runs with the tokens behind the video's.

    Sets of several people stand one behind the other. With a region, a set reads its region and itself and nobody else.

    Args:
        kept: for constant tokens, of which there is one set for all rows. Where every block's keys are there already,
            the video attends to these, and no token is appended.
    """
    rows = None if appended.rows is None or bool(appended.rows.all()) else appended.rows.bool().cpu()
    region = appended.region
    if not appended.weight or (rows is not None and not rows.any()) or (region is not None and not len(region.index)):
        return options
    if kept is not None and not (appended.is_constant and len(appended.tokens) == 1):
        raise ValueError("Only keys of constant tokens, the same for all rows, can be kept.")
    indices = range(len(transformer.blocks))
    is_kept = kept is not None and all(kept.cache.holds(kept.of_block(index)) for index in indices)
    shared = options.get(SHARED_KEY, {})
    before: tuple[TokenSet, ...] = shared.get(SETS, ())
    sets = (*before, TokenSet(appended, rows, kept, is_kept))
    # One noise level's modulation is that of all before the first set with one of its own.
    sets = tuple(sorted(sets, key=lambda one: one.appended.modulation is not None))
    options = {**options, SHARED_KEY: {**shared, SETS: sets}}
    if before:  # the wrappers of the first set run them all
        return options
    options = wrap_blocks(options, {index: _attend(index) for index in indices}, inside=True)
    return wrap_blocks(
        options, {index: _wrapper(block, index, indices) for index, block in enumerate(transformer.blocks)}
    )


def _sets(options: dict, in_sequence: bool | None = None) -> list[TokenSet]:
    """Those of this pass; those alone that are in the sequence, or that are not."""
    return [one for one in options[SHARED_KEY][SETS] if in_sequence is None or one.is_kept != in_sequence]


def _wrapper(block: nn.Module, index: int, indices: range) -> BlockWrapper:
    def run_with_tokens(args: dict, run: RunBlock) -> Tensor:
        hidden, options, positions, modulation = (args[name] for name in ("img", "transformer_options", "pe", "vec"))
        sets = _sets(options, in_sequence=True)
        if not sets:
            return run(args)
        if index == indices[0]:
            hidden = torch.cat([hidden, *(per_row(one.appended.tokens, options, hidden) for one in sets)], dim=1)
        num_video = place = hidden.shape[1] - sum(one.count for one in sets)
        positions = torch.cat([positions, *(one.appended.rotary.to(positions) for one in sets)], dim=1)
        with ExitStack() as changes:
            for one in sets:
                appended, last = one.appended, slice(place, place + one.count)
                modulation = joined_modulation(modulation, appended.modulation, options, place, one.count)
                changes.enter_context(lora_on(block, appended.lora.get(index, {}), last))
                changes.enter_context(text_without(block, last, appended.reads_text))
                place += one.count
            hidden = run({**args, "img": hidden, "pe": positions, "vec": modulation})
        return hidden[:, :num_video] if index == indices[-1] else hidden

    return run_with_tokens


def _attend(index: int) -> BlockWrapper:
    """Self-attention of a block in which not everything attends to everything."""

    def run_block(args: dict, run: RunBlock) -> Tensor:
        options = args["transformer_options"]
        if all(one.is_plain for one in _sets(options)):
            return run(args)

        def change(attention: Attention, q: Tensor, k: Tensor, v: Tensor, sample: int | None) -> Tensor:
            return attend_to_sets(attention, q, k, v, options, index)

        return run(change_attention(args, change))

    return run_block


def attend_to_sets(attention: Attention, q: Tensor, k: Tensor, v: Tensor, options: dict, index: int) -> Tensor:
    """Self-attention of block `index` over the video's tokens and those behind it, q, k, v (B, N', D), by sets."""
    sets = _sets(options, in_sequence=True) + _sets(options, in_sequence=False)
    counts = [0 if one.is_kept else one.count for one in sets]
    num_video = q.shape[1] - sum(counts)
    (video_q, *queries), (video_k, *keys), (video_v, *values) = (
        t.split([num_video, *counts], dim=1) for t in (q, k, v)
    )
    for number, one in enumerate(sets):
        if one.is_kept:
            assert one.kept is not None
            key, value = one.kept.cache.get(one.kept.of_block(index), tuple)
            keys[number], values[number] = (t.to(k).expand(len(k), -1, -1) for t in (key, value))
        elif one.kept is not None:
            # A copy: a view would hold the video's keys in memory for the whole run.
            made = (keys[number][:1].clone(), values[number][:1].clone())
            one.kept.cache.get(one.kept.of_block(index), lambda made=made: made)
    everybody = torch.ones(len(q), dtype=torch.bool)
    shown = [everybody if one.rows is None else rows_running(options, one.rows) for one in sets]
    groups = rows_by_pattern(torch.stack(shown, dim=1))
    out = None
    for rows, pattern in groups:
        of_rows = (lambda t: t) if len(groups) == 1 else (lambda t, rows=rows: t[rows.to(t.device)])
        seen = [
            (one.appended, of_rows(key), of_rows(value))
            for one, key, value, is_on in zip(sets, keys, values, pattern, strict=True)
            if is_on
        ]
        part = video_attention(attention, of_rows(video_q), of_rows(video_k), of_rows(video_v), seen)
        if len(groups) == 1:
            out = part
            break
        out = part.new_empty(video_q.shape) if out is None else out
        out[rows.to(out.device)] = part
    assert out is not None
    outs = [out]
    for one, query, key, value in zip(sets, queries, keys, values, strict=True):
        if one.is_kept:
            continue
        if one.appended.attends == "all":
            region = one.appended.region
            read_k, read_v = (t if region is None else region.of(t) for t in (video_k, video_v))
            key, value = torch.cat([read_k, key], dim=1), torch.cat([read_v, value], dim=1)
        outs.append(attention(query, key, value))
    return torch.cat(outs, dim=1) if len(outs) > 1 else out


def video_attention(
    attention: Attention, q: Tensor, k: Tensor, v: Tensor, seen: Sequence[tuple[AppendedTokens, Tensor, Tensor]]
) -> Tensor:
    """q, k, v (B, N, D) of the video, which reads the keys and values (B, M, D) of sets besides -> (B, N, D)."""
    for one, more_k, more_v in seen:
        if one.region is None and one.weight == 1:
            k, v = torch.cat([k, more_k], dim=1), torch.cat([v, more_v], dim=1)
    reads = [
        Read(torch.cat([k, more_k], dim=1), torch.cat([v, more_v], dim=1), one.region, one.weight)
        for one, more_k, more_v in seen
        if one.region is not None or one.weight != 1
    ]
    return attend_with(attention, q, k, v, reads)


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
