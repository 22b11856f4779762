"""What rotating queries costs as complex numbers, against the 2 x 2 matrices that they come as; with gradients."""

import torch
from torch import Tensor

from benchmarks.paired import Ratio, compare
from slotid_core.wan.rope import apply_rotary, rotary_matrices

GRID, HEADS, HEAD_WIDTH, BATCH = (5, 15, 13), 12, 128, 2


def run() -> list[Ratio]:
    torch.manual_seed(0)
    rotary = rotary_matrices(GRID, HEAD_WIDTH)
    q = torch.randn(BATCH, rotary.shape[1], HEADS, HEAD_WIDTH, dtype=torch.bfloat16, requires_grad=True)

    def by_matrices(x: Tensor) -> Tensor:
        pairs = x.to(rotary.dtype).unflatten(-1, (-1, 1, 2))
        return (rotary * pairs).sum(-1).flatten(-2).to(x.dtype)

    def both_ways(rotate) -> None:
        rotated = rotate(q)
        rotated.backward(rotated.detach())

    return [
        compare(
            f"rotary positions of {rotary.shape[1]} tokens, forward and backward: complex / matrices",
            lambda: both_ways(lambda x: apply_rotary(x, rotary)),
            lambda: both_ways(by_matrices),
        )
    ]
