"""Attention in which some tokens read other keys and values, by calls of their own over gathered tokens.

A mask of all tokens by all tokens would be a gigabyte at 32,000 tokens. Here the tokens of a region are gathered,
attend by themselves, and are put back, so that the cost grows with the region.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .attention import Attention
from .regions import TokenRegion, blended, uncovered


@dataclass(frozen=True)
class Read:
    """Other keys and values, (B, M', D) each, for the tokens of a region; for all of them where it is None.

    `weight` is how far they go from what they read otherwise to this.
    """

    key: Tensor
    value: Tensor
    region: TokenRegion | None = None
    weight: float = 1.0


def attend_with(attention: Attention, q: Tensor, k: Tensor, v: Tensor, reads: Sequence[Read]) -> Tensor:
    """q (B, N, D) attends to k and v (B, M, D), and where a read reaches, to its keys and values -> (B, N, D).

    Where two reads reach the same token, the later lies on top. What they cover is not computed twice.
    """
    covering = tuple(read.region for read in reads if read.weight == 1)
    rest = uncovered(covering, q.shape[1], q.device)
    out = None
    if rest is None:
        out = attention(q, k, v)
    elif len(rest):
        part = attention(q[:, rest], k, v)
        out = part.new_zeros(q.shape)  # autocast gives a result of another precision than the queries
        out[:, rest] = part
    for read in reads:
        region = read.region
        part = attention(q if region is None else region.of(q), read.key, read.value)
        if region is None:
            out = part if read.weight == 1 or out is None else torch.lerp(out, part, read.weight)
            continue
        out = part.new_zeros(q.shape) if out is None else out
        out[:, region.index] = blended(region.of(out), part, region, read.weight)
    assert out is not None  # without reads, nothing is covered
    return out
