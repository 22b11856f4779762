"""Slot-ID's optimal transport at six slots and 4,352 tokens against POT's `sinkhorn_log`, at equal iterations.

17 latent frames of a face clip of 256 x 256 have 4,352 tokens. Both run 20 iterations in float64 on a batch of eight,
which POT solves one after the other, and are asked for the error of their masses, so that neither is faster for being
less exact. POT is given tensors, and returns them. The encoder itself runs in float32, and training takes the gradient.
"""

import sys
from collections.abc import Callable

import ot
import torch

from benchmarks.paired import Ratio, compare
from slotid_core.systems.slot_id.sinkhorn import sinkhorn

Scale = Callable[[torch.Tensor], torch.Tensor]
SAMPLES, SLOTS, TOKENS, ITERATIONS = 8, 6, 4352, 20


def of_pot(logits: torch.Tensor) -> torch.Tensor:
    """(B, S, L) plans."""
    rows, cols = (torch.full((size,), 1 / size, dtype=logits.dtype) for size in logits.shape[1:])
    settings = {"reg": 1.0, "numItermax": ITERATIONS, "stopThr": 0.0, "warn": False}
    plans = [ot.bregman.sinkhorn_log(rows, cols, -one, **settings) for one in logits]
    return torch.stack([plan for plan in plans if isinstance(plan, torch.Tensor)])


def gradient_of(scale: Scale, logits: torch.Tensor) -> torch.Tensor:
    leaf = logits.detach().requires_grad_()
    return torch.autograd.grad(scale(leaf).square().sum(), leaf)[0]


def against_pot(what: str, solve: Callable[[Scale], torch.Tensor]) -> Ratio:
    name = f"Sinkhorn of {SAMPLES} x {SLOTS} x {TOKENS} / POT's sinkhorn_log{what}"
    return compare(name, lambda: solve(lambda logits: sinkhorn(logits, ITERATIONS)), lambda: solve(of_pot), pairs=7)


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
    return [
        against_pot("", lambda scale: scale(logits)),
        against_pot(", with the gradient", lambda scale: gradient_of(scale, logits)),
        against_pot(", in float32", lambda scale: scale(logits.float())),
    ]


if __name__ == "__main__":
    for ratio in run():
        print(ratio)
