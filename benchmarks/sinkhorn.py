"""Slot-ID's optimal transport at six slots and 4,352 tokens against POT's `sinkhorn_log`, at equal iterations.

17 latent frames of a face clip of 256 x 256 have 4,352 tokens. Both run 20 iterations in float64 on a batch of eight,
which POT solves one after the other, and are asked for the error of their masses, so that neither is faster for being
less exact. POT is given tensors, and returns them.
"""

import sys

import ot
import torch

from benchmarks.paired import Ratio, compare
from slotid_core.systems.slot_id.sinkhorn import sinkhorn

SAMPLES, SLOTS, TOKENS, ITERATIONS = 8, 6, 4352, 20


def of_pot(logits: torch.Tensor) -> torch.Tensor:
    """(B, S, L) plans."""
    rows, cols = (torch.full((size,), 1 / size, dtype=logits.dtype) for size in logits.shape[1:])
    settings = {"reg": 1.0, "numItermax": ITERATIONS, "stopThr": 0.0, "warn": False}
    plans = [ot.bregman.sinkhorn_log(rows, cols, -one, **settings) for one in logits]
    return torch.stack([plan for plan in plans if isinstance(plan, torch.Tensor)])


def run() -> list[Ratio]:
    logits = torch.randn(SAMPLES, SLOTS, TOKENS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours, theirs = sinkhorn(logits, ITERATIONS), of_pot(logits)
    errors = [
        max((plan.sum(2) * SLOTS - 1).abs().max(), (plan.sum(1) * TOKENS - 1).abs().max()) for plan in (ours, theirs)
    ]
    print(
        f"  largest error of a mass after {ITERATIONS} iterations: {errors[0]:.1e}, POT's {errors[1]:.1e}",
        file=sys.stderr,
    )
    name = f"Sinkhorn of {SAMPLES} x {SLOTS} x {TOKENS} / POT's sinkhorn_log"
    return [compare(name, lambda: sinkhorn(logits, ITERATIONS), lambda: of_pot(logits), pairs=7)]


if __name__ == "__main__":
    for ratio in run():
        print(ratio)
