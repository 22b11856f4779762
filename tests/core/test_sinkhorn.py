"""Sinkhorn against POT's log-domain solver, an independent loop, and its own gradient."""

import math

import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proof import examples
from typed import instance

from slotid_core.errors import SlotIDError
from slotid_core.systems.slot_id.sinkhorn import sinkhorn


def problem(seed: int, slots: int, tokens: int, spread: float = 1.0):
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(2, slots, tokens, generator=generator, dtype=torch.float64)
    rows = torch.rand(slots, generator=generator, dtype=torch.float64) + 0.2
    cols = torch.rand(tokens, generator=generator, dtype=torch.float64) + 0.2
    return logits, rows / rows.sum(), cols / cols.sum()


def converge(logits, rows, cols):
    for num_iters in (50, 500, 5000, 50000):
        plan = sinkhorn(logits, num_iters, rows, cols)
        if (plan.sum(2) - rows).abs().max() < 1e-11:
            return plan
    raise AssertionError("Sinkhorn did not converge")


@settings(max_examples=examples(25), deadline=None)
@given(seed=st.integers(0, 10**6), slots=st.integers(1, 16), tokens=st.integers(1, 5000))
def test_converged_plan_equals_pot(seed, slots, tokens):
    logits, rows, cols = problem(seed, slots, tokens)
    plan = converge(logits, rows, cols)
    for b in range(2):
        oracle = ot.bregman.sinkhorn_log(rows, cols, -logits[b], reg=1.0, numItermax=50000, stopThr=1e-14, warn=False)
        assert torch.allclose(plan[b], instance(oracle, torch.Tensor), rtol=1e-8, atol=0)
    assert (plan.sum(2) - rows).abs().max() < 1e-10
    assert (plan.sum(1) - cols).abs().max() < 1e-10


@settings(max_examples=examples(20), deadline=None)
@given(seed=st.integers(0, 10**6), slots=st.integers(1, 6), tokens=st.integers(1, 12), num_iters=st.integers(1, 7))
def test_finite_iterations_equal_a_plain_loop(seed, slots, tokens, num_iters):
    logits, rows, cols = problem(seed, slots, tokens)
    plan = sinkhorn(logits, num_iters, rows, cols)
    kernel = logits[0].exp().tolist()
    v = [1.0] * tokens
    for _ in range(num_iters):
        u = [rows[i].item() / sum(kernel[i][j] * v[j] for j in range(tokens)) for i in range(slots)]
        v = [cols[j].item() / sum(kernel[i][j] * u[i] for i in range(slots)) for j in range(tokens)]
    expected = torch.tensor([[u[i] * kernel[i][j] * v[j] for j in range(tokens)] for i in range(slots)])
    assert torch.allclose(plan[0], expected.double(), rtol=1e-6)


def test_default_marginals_are_uniform_and_columns_hold_at_once():
    logits, _, _ = problem(0, 6, 40)
    plan = sinkhorn(logits, 1)
    assert torch.allclose(plan.sum(1), torch.full((2, 40), 1 / 40, dtype=torch.float64))
    assert torch.allclose(sinkhorn(logits, 200).sum(2), torch.full((2, 6), 1 / 6, dtype=torch.float64))


def test_gradient_is_exact():
    logits, rows, cols = problem(3, 3, 5)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: sinkhorn(x, 4, rows, cols), logits)


def test_large_logits_in_half_precision_stay_finite():
    logits = 200 * torch.randn(1, 6, 4352, generator=torch.Generator().manual_seed(0))
    plan = sinkhorn(logits.bfloat16(), 8)
    assert plan.dtype == torch.float32
    assert torch.isfinite(plan).all()
    assert math.isclose(plan.sum().item(), 1.0, rel_tol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"logits": torch.zeros(2, 3), "num_iters": 3}, "(2, 3)"),
        ({"logits": torch.zeros(1, 2, 3), "num_iters": 0}, "num_iters=0"),
        ({"logits": torch.zeros(1, 2, 3), "num_iters": 3, "row_marginal": torch.ones(3) / 3}, "3 entries"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(SlotIDError) as error:
        sinkhorn(**arguments)
    assert message in str(error.value)
