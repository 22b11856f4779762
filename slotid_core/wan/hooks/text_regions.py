"""Rows of the text context that only a region's tokens read; see `text_rows` for rows that all of them read.

The prompt's keys and values stay as they are for everybody else. Those of a region's own rows stand over the padding's,
as without a region, in calls of cross-attention over the region's tokens.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..model import IMAGE_ATTENTION, SELF_ATTENTION, TEXT_ATTENTION
from .attention import Attention, change_attention
from .blocks import BlockWrapper, RunBlock, Transformer, wrap_blocks
from .reads import Read, attend_with
from .regions import TokenRegion, rows_by_pattern
from .rows import SHARED_KEY, rows_running
from .text_rows import FULL, TAKEN, TextRows, inserted, mixed

REGIONAL = "rows_in_regions"


@dataclass(frozen=True)
class RegionRows:
    """One person's rows in one forward pass; the last three as for `text_rows.place_rows`."""

    rows: TextRows
    region: TokenRegion
    blocks: frozenset[int]
    num_padding: Sequence[int]
    padding_vector: Callable[[], Tensor] | None
    padding_row: int | None

    @functools.cached_property
    def is_shown(self) -> Tensor:
        """(B,) on the CPU, the rows that show the person. All blocks ask it, and on a GPU each copy waits."""
        return self.rows.amount.detach().any(dim=1).cpu()

    @functools.cached_property
    def embedded_padding(self) -> Tensor | None:
        """(1, 1, D), the same in all blocks of a pass."""
        return None if self.padding_vector is None else self.padding_vector()

    def has_room(self, options: dict) -> Tensor:
        """(B,) of the rows that run, whether the prompt leaves padding for these rows in front of what others took."""
        shared, count = options.get(SHARED_KEY, {}), self.rows.amount.shape[1]
        padding = torch.as_tensor(self.num_padding)
        nothing = torch.zeros_like(padding)
        has_room = (padding - shared.get(TAKEN, nothing) >= count) & ~shared.get(FULL, nothing.bool())
        return rows_running(options, has_room)


def place_rows_in_region(options: dict, transformer: Transformer, placed: RegionRows) -> dict:
    """A copy of `options` under which the tokens of a region read these rows besides the prompt.

    Regions of several people may be placed; each reads its own rows alone.
    """
    if not len(placed.region.index) or not placed.is_shown.any():
        return options
    shared = options.get(SHARED_KEY, {})
    before: tuple[RegionRows, ...] = shared.get(REGIONAL, ())
    options = {**options, SHARED_KEY: {**shared, REGIONAL: (*before, placed)}}
    new = placed.blocks.difference(*(one.blocks for one in before))  # on the others there is a wrapper that runs all
    return wrap_blocks(
        options, {index: _wrapper(transformer.blocks[index], index) for index in sorted(new)}, inside=True
    )


def _wrapper(block: nn.Module, index: int) -> BlockWrapper:
    def run_with_rows(args: dict, run: RunBlock) -> Tensor:
        options, context = args["transformer_options"], args["txt"]
        people = [one for one in options[SHARED_KEY][REGIONAL] if index in one.blocks]
        written = []
        for one in people:
            rows, before, place = one.rows.running(options), None, None
            if one.padding_row is not None:
                before, place = context[:, one.padding_row, None], context.shape[1]
                no_rows = TextRows(rows.tokens, torch.zeros_like(rows.amount))
                context = inserted(context, no_rows, torch.zeros(len(context)), before)
            elif one.padding_vector is not None and not one.has_room(options).all():
                before = one.embedded_padding
            written.append(Written(rows, one, before, place))
        change = _reading(block.get_submodule("cross_attn"), context, written, options)
        changed = change_attention(args, change, TEXT_ATTENTION, order_of_calls(block))
        return run({**changed, "txt": context})

    return run_with_rows


@dataclass(frozen=True)
class Written:
    """A person's rows for one block call.

    Attributes:
        before: (B or 1, 1, D) embedded padding that they stand for, where it is not read off the context.
        place: index in the context of the first of the padding rows that they stand over, in every row of the batch.
    """

    rows: TextRows
    person: RegionRows
    before: Tensor | None
    place: int | None

    def places(self, context: Tensor, options: dict) -> Tensor:
        """(B,), index of the first row that is stood over; -1 where rows are added behind the prompt."""
        if self.place is not None:
            return torch.full((len(context),), self.place)
        nothing = torch.zeros(len(self.person.num_padding), dtype=torch.long)
        taken = rows_running(options, options.get(SHARED_KEY, {}).get(TAKEN, nothing))
        first = context.shape[1] - taken - self.rows.amount.shape[1]
        return torch.where(self.person.has_room(options), first, -1)


def _reading(cross: nn.Module, context: Tensor, written: Sequence[Written], options: dict) -> Callable:
    def change(attention: Attention, q: Tensor, k: Tensor, v: Tensor, sample: int | None) -> Tensor:
        if sample is not None:
            raise ValueError("Packed samples have no regions.")
        places = [one.places(context, options) for one in written]
        shown = [rows_running(options, one.person.is_shown) for one in written]
        patterns = torch.stack(
            [torch.where(is_shown, place, -2) for is_shown, place in zip(shown, places, strict=True)], 1
        )
        num_images = context.shape[1] - k.shape[1]
        out = None
        groups = rows_by_pattern(patterns)
        for rows, pattern in groups:
            chosen = rows.to(q.device)
            own_q, own_k, own_v = (q, k, v) if len(groups) == 1 else (q[chosen], k[chosen], v[chosen])
            reads = [
                Read(*keys_with(cross, one, context, chosen, place, num_images, own_k, own_v), one.person.region)
                for one, place in zip(written, pattern, strict=True)
                if place > -2
            ]
            part = attend_with(attention, own_q, own_k, own_v, reads)
            if len(groups) == 1:
                return part
            out = part.new_empty(q.shape) if out is None else out
            out[chosen] = part
        assert out is not None
        return out

    return change


def keys_with(
    cross: nn.Module, one: Written, context: Tensor, chosen: Tensor, place: int, num_images: int, k: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    """Keys and values of the prompt (R, M, D) of the `chosen` rows, with the person's over those of the padding, or
    behind them where `place` is -1."""
    count = one.rows.amount.shape[1]
    tokens = one.rows.tokens if len(one.rows.tokens) == 1 else one.rows.tokens[chosen]
    if one.before is None:
        before = context[chosen, place : place + count]
    else:
        before = one.before if len(one.before) == 1 else one.before[chosen]
    rows = mixed(before.to(context.dtype), TextRows(tokens, one.rows.amount[chosen]), context.dtype)
    added_k = cross.get_submodule("norm_k")(cross.get_submodule("k")(rows)).to(k.dtype)
    added_v = cross.get_submodule("v")(rows).to(v.dtype)
    if place < 0:
        return torch.cat([k, added_k], dim=1), torch.cat([v, added_v], dim=1)
    first = place - num_images
    return tuple(
        torch.cat([old[:, :first], new, old[:, first + count :]], dim=1) for old, new in ((k, added_k), (v, added_v))
    )  # pyright: ignore[reportReturnType]


def order_of_calls(block: nn.Module) -> tuple[str, ...]:
    """The attentions of a block of ComfyUI's, in its order; ours says itself which it computes."""
    has_images = hasattr(block.get_submodule("cross_attn"), "k_img")
    return (SELF_ATTENTION, IMAGE_ATTENTION, TEXT_ATTENTION) if has_images else (SELF_ATTENTION, TEXT_ATTENTION)
