"""Attention of the toy world's sizes, in bfloat16 where the CPU has it: by products, against PyTorch's kernel."""

import torch
import torch.nn.functional as F

from benchmarks.paired import Ratio, compare
from slotid_core.precision import fast_dtype
from slotid_core.wan.attention import dot_product_attention

SHAPES = {"transformer": (24, 2, 80, 80, 128), "prompt": (24, 2, 80, 28, 128), "reference": (16, 4, 272, 272, 64)}


def run() -> list[Ratio]:
    torch.manual_seed(0)
    return [ratio(name, *shape) for name, shape in SHAPES.items()]


def ratio(name: str, batch: int, heads: int, queries: int, keys: int, width: int) -> Ratio:
    q, k, v = (
        torch.randn(batch, heads, count, width, dtype=fast_dtype(torch.bfloat16, "cpu"), requires_grad=True)
        for count in (queries, keys, keys)
    )

    def both_ways(attention) -> None:
        out = attention(q, k, v)
        out.backward(out.detach())

    return compare(
        f"attention on the toy world's {name}, {queries} x {keys}: products / kernel",
        lambda: both_ways(dot_product_attention),
        lambda: both_ways(F.scaled_dot_product_attention),
    )
