"""How Lynx enters a Wan transformer: attention branches, added to a block's own attention before its output layer.

Both attentions of a block call one function, which the options of that call may override. So a branch is added
exactly where Lynx's code adds it, through the block's own layers, with nothing left on the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..wan.injection import rows_running
from ..wan.model import ATTENTION_KIND, SELF_ATTENTION, TEXT_ATTENTION
from ..wan.rope import undo_rotary

OVERRIDE = "optimized_attention_override"
# A block's calls in order. I2V blocks make a third, and the two on text and image tokens are summed, so that the
# branch may join either. Our own model says which call it is, because recomputing a block repeats them.
ORDER = (SELF_ATTENTION, TEXT_ATTENTION)


@dataclass(frozen=True)
class AttentionBranch:
    """Keys and values that the video tokens of one block attend to besides its own.

    Attributes:
        key, value: (R, M, D), R different people or nobodies.
        is_normalized: False if the block's own key norm is still to be applied.
    """

    key: Tensor
    value: Tensor
    is_normalized: bool


@dataclass(frozen=True)
class LynxCondition:
    """Lynx for one forward pass.

    Attributes:
        rows: (B,) int64, which of a branch's R rows each row of the batch gets.
        face: cross-attention branches by block, of the ID adapter.
        reference: self-attention branches by block, of the Ref adapter.
        id_scale, ref_scale: weights of the branches; at 0 a branch is left out.
    """

    rows: Tensor
    face: Mapping[int, AttentionBranch] = field(default_factory=dict)
    reference: Mapping[int, AttentionBranch] = field(default_factory=dict)
    id_scale: float = 1.0
    ref_scale: float = 1.0


def install_lynx(transformer_options: dict, transformer: nn.Module, condition: LynxCondition, blocks) -> dict:
    """A copy of `transformer_options` under which the given blocks of `transformer` have Lynx's branches."""
    replacements = dict(transformer_options.get("patches_replace", {}).get("dit", {}))
    for index in blocks:
        face = condition.face.get(index) if condition.id_scale else None
        reference = condition.reference.get(index) if condition.ref_scale else None
        if face is not None or reference is not None:
            key = ("double_block", index)
            replacements[key] = _replacement(
                replacements.get(key), transformer.blocks[index], condition, face, reference
            )
    return {
        **transformer_options,
        "patches_replace": {**transformer_options.get("patches_replace", {}), "dit": replacements},
    }


def _replacement(previous, block: nn.Module, condition: LynxCondition, face, reference):
    def replace_block(args: dict, extra: dict) -> dict:
        def with_branches(args: dict) -> dict:
            override = _override(block, condition, face, reference, args)
            options = {**args["transformer_options"], OVERRIDE: override}
            return extra["original_block"]({**args, "transformer_options": options})

        # What was installed before may run the block more than once, on parts of the batch.
        return with_branches(args) if previous is None else previous(args, {**extra, "original_block": with_branches})

    return replace_block


def _override(block: nn.Module, condition: LynxCondition, face, reference, args: dict):
    """The attention function of one run of a block."""
    options, rotary = args["transformer_options"], args["pe"]
    before = options.get(OVERRIDE)
    rows = rows_running(options, condition.rows)
    calls: list[None] = []  # how many attentions this run has computed so far

    def attention(function, q: Tensor, k: Tensor, v: Tensor, *positional, **named) -> Tensor:
        kind = named.get("transformer_options", options).get(ATTENTION_KIND) or dict(enumerate(ORDER)).get(len(calls))
        calls.append(None)
        inputs = (q, k, v, *positional)
        out = function(*inputs, **named) if before is None else before(function, *inputs, **named)
        heads = named["heads"] if "heads" in named else positional[0]
        if kind == SELF_ATTENTION and reference is not None:
            q = undo_rotary(q.unflatten(2, (heads, -1)), rotary).flatten(2)
            return out + condition.ref_scale * attend(q, reference, rows, block.self_attn.norm_k, heads)
        if kind == TEXT_ATTENTION and face is not None:
            return out + condition.id_scale * attend(q, face, rows, block.cross_attn.norm_k, heads)
        return out

    return attention


def attend(q: Tensor, branch: AttentionBranch, rows: Tensor, key_norm: nn.Module, heads: int) -> Tensor:
    """q (B, N, D), normalised and without rotation -> (B, N, D)."""
    key, value = (t.to(q.device, q.dtype) for t in (branch.key, branch.value))
    if not branch.is_normalized:
        key = key_norm(key)
    rows = rows.to(q.device)
    q, key, value = (rearrange(t, "b n (h d) -> b h n d", h=heads) for t in (q, key[rows], value[rows]))
    return rearrange(F.scaled_dot_product_attention(q, key, value), "b h n d -> b n (h d)")
