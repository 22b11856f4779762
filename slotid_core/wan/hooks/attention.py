"""A block's attentions: branches added to them, and self-attention over other queries and keys.

Both attentions of a block call one function, which the options of that call may override, with their queries and
before their output layer. What is changed is changed exactly there, through the block's own layers, with nothing left
on the model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from einops import rearrange
from torch import Tensor, nn

from ..attention import dot_product_attention
from ..model import ATTENTION_KIND, SELF_ATTENTION, TEXT_ATTENTION
from ..packing import packing_of, sample_of
from ..rope import undo_rotary
from .blocks import BlockWrapper, RunBlock, Transformer, wrap_blocks
from .regions import TokenRegion
from .rows import rows_running

OVERRIDE = "optimized_attention_override"
# A block's calls in order. I2V blocks make a third, and the two on text and image tokens are summed, so that the
# branch may join either. Our own model says which call it is, because recomputing a block repeats them.
ORDER = (SELF_ATTENTION, TEXT_ATTENTION)
KEY_NORMS = {SELF_ATTENTION: "self_attn.norm_k", TEXT_ATTENTION: "cross_attn.norm_k"}


@dataclass(frozen=True)
class AttentionBranch:
    """Keys and values of one branch.

    Attributes:
        key, value: (R, M, D), R different people or nobodies; without rotation.
        is_normalized: False if the block's own key norm is still to be applied.
    """

    key: Tensor
    value: Tensor
    is_normalized: bool


@dataclass(frozen=True)
class WeightedBranch:
    """A branch, its weight, and the tokens of the video that it reaches; all tokens where that is None."""

    branch: AttentionBranch
    scale: float
    region: TokenRegion | None = None


# Kind of attention (`SELF_ATTENTION` or `TEXT_ATTENTION`) -> what joins it.
BlockBranches = Mapping[str, WeightedBranch]


def add_branches(options: dict, transformer: Transformer, branches: Mapping[int, BlockBranches], rows: Tensor) -> dict:
    """A copy of `options` under which the blocks of `transformer` have these branches.

    Args:
        branches: block index -> its branches.
        rows: (B,) int64, which of a branch's R rows each row of the batch gets.
    """
    wrappers = {index: _wrapper(transformer.blocks[index], added, rows) for index, added in branches.items() if added}
    return wrap_blocks(options, wrappers, inside=True)


def _wrapper(block: nn.Module, added: BlockBranches, rows: Tensor) -> BlockWrapper:
    def run_with_branches(args: dict, run: RunBlock) -> Tensor:
        options = args["transformer_options"]
        norms = {kind: block.get_submodule(KEY_NORMS[kind]) for kind in added}
        override = BranchOverride(options, added, rows_running(options, rows), norms, args["pe"], options.get(OVERRIDE))
        return run({**args, "transformer_options": {**options, OVERRIDE: override}})

    return run_with_branches


@dataclass(frozen=True)
class BranchOverride:
    """The attention function of one run of a block, with branches.

    `before` is what was installed already; `calls` counts the attentions that this run has computed so far.
    """

    options: dict
    added: BlockBranches
    rows: Tensor
    key_norms: Mapping[str, nn.Module]
    rotary: Tensor
    before: Callable | None
    calls: list[None] = field(default_factory=list)

    def __call__(self, function: Callable, q: Tensor, k: Tensor, v: Tensor, *positional, **named) -> Tensor:
        kind = kind_of_call(self.options, named, self.calls)
        inputs = (q, k, v, *positional)
        out = function(*inputs, **named) if self.before is None else self.before(function, *inputs, **named)
        if kind is None or kind not in self.added:
            return out
        weighted = self.added[kind]
        heads = named["heads"] if "heads" in named else positional[0]
        rows, rotary = self.rows, self.rotary
        packing, sample = packing_of(self.options), sample_of(named.get("transformer_options", {}))
        if packing is not None and sample is not None:
            rows, rotary = rows[sample : sample + 1], packing.split(rotary)[sample]
        region = weighted.region
        if region is not None:
            q, rotary = region.of(q), region.of(rotary)
        if kind == SELF_ATTENTION:
            q = undo_rotary(q.unflatten(2, (heads, -1)), rotary).flatten(2)
        added = weighted.scale * attend(q, weighted.branch, rows, self.key_norms[kind], heads)
        if region is None:
            return out + added
        return out.index_add(1, region.index, (added * region.weight[:, None]).to(out.dtype))


# q (B, N, D), k and v (B, M, D) -> (B, N, D).
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
# (attention, q, k, v, sample) -> out like q: calls the attention with other queries, keys or values, once or often.
# `sample` is which of packed samples the call is for, None where it is for the whole batch.
ChangeAttention = Callable[[Attention, Tensor, Tensor, Tensor, int | None], Tensor]


def change_attention(
    args: dict, change: ChangeAttention, kind: str = SELF_ATTENTION, order: Sequence[str] = ORDER
) -> dict:
    """A copy of a block's arguments under which its attention of this kind is computed by `change`.

    Branches are added to the result of `change`, whichever of the two was installed first.

    Args:
        order: the kinds of attention in the order in which the block computes them.
    """
    options = args["transformer_options"]

    def below(before: Callable | None) -> Callable:
        if isinstance(before, BranchOverride):
            return replace(before, before=below(before.before))
        return _changed(change, options, before, kind, order)

    return {**args, "transformer_options": {**options, OVERRIDE: below(options.get(OVERRIDE))}}


def _changed(
    change: ChangeAttention, options: dict, before: Callable | None, changed_kind: str, order: Sequence[str]
) -> Callable:
    calls: list[None] = []

    def attention(function: Callable, q: Tensor, k: Tensor, v: Tensor, *positional, **named) -> Tensor:
        is_changed = kind_of_call(options, named, calls, order) == changed_kind
        if is_changed:  # `change` may call several times, so what is below cannot count
            inside = {**named.get("transformer_options", options), ATTENTION_KIND: changed_kind}
            named = {**named, "transformer_options": inside}

        def inner(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            inputs = (q, k, v, *positional)
            return function(*inputs, **named) if before is None else before(function, *inputs, **named)

        sample = sample_of(named.get("transformer_options", {}))
        return change(inner, q, k, v, sample) if is_changed else inner(q, k, v)

    return attention


def kind_of_call(options: dict, named: dict, calls: list[None], order: Sequence[str] = ORDER) -> str | None:
    """Which attention of a block is being computed; one more is noted, however many calls it takes."""
    said = named.get("transformer_options", options).get(ATTENTION_KIND)
    if said is not None:
        calls[:] = [None] * (order.index(said) + 1 if said in order else len(calls) + 1)
        return said
    calls.append(None)
    return order[len(calls) - 1] if len(calls) <= len(order) else None


def attend(q: Tensor, branch: AttentionBranch, rows: Tensor, key_norm: nn.Module, heads: int) -> Tensor:
    """q (B, N, D), normalised and without rotation -> (B, N, D)."""
    key, value = (t.to(q.device, q.dtype) for t in (branch.key, branch.value))
    if not branch.is_normalized:
        key = key_norm(key)
    rows = rows.to(q.device)
    q, key, value = (rearrange(t, "b n (h d) -> b h n d", h=heads) for t in (q, key[rows], value[rows]))
    return rearrange(dot_product_attention(q, key, value), "b h n d -> b n (h d)")
