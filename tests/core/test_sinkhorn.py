"""Sinkhorn against POT's log-domain solver, a loop in the log domain, a plain loop, and its own gradient."""

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


def in_log_domain(logits, num_iters, rows=None, cols=None):
    """Oracle: every iteration with logsumexp, differentiated by autograd."""
    log_rows = -math.log(logits.shape[1]) if rows is None else rows.log()
    log_cols = -math.log(logits.shape[2]) if cols is None else cols.log()
    log_v = torch.zeros_like(logits[:, 0])
    for _ in range(num_iters):
        log_u = log_rows - torch.logsumexp(logits + log_v.unsqueeze(1), dim=2)
        log_v = log_cols - torch.logsumexp(logits + log_u.unsqueeze(2), dim=1)
    return torch.exp(logits + log_u.unsqueeze(2) + log_v.unsqueeze(1))


def rivals(slots: int, tokens: int, height: float):
    """Every slot wants the first token, each more than the last: a row's scale grows by about L in every iteration."""
    logits = torch.zeros(1, slots, tokens, dtype=torch.float64)
    logits[0, :, 0] = height * torch.arange(1, slots + 1)
    return logits


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


SPREADS = st.sampled_from([0.1, 1.0, 1 / 0.05, 50.0, 50 / 0.05, 1 / 1e-3, 50 / 1e-3])


@settings(max_examples=examples(60), deadline=None)
@given(
    seed=st.integers(0, 10**6),
    slots=st.integers(1, 8),
    tokens=st.integers(1, 300),
    num_iters=st.sampled_from([1, 2, 7, 8, 20, 150]),
    spread=SPREADS,
    marginals=st.sampled_from(["uniform", "given", "a slot and a token without mass"]),
    kind=st.sampled_from(["normal", "two values", "a row of zeros", "a pair excluded"]),
)
def test_plan_and_gradient_equal_the_log_domain(seed, slots, tokens, num_iters, spread, marginals, kind):
    logits, rows, cols = problem(seed, slots, tokens, spread)
    if kind == "two values":
        logits = spread * logits.sign()
    elif kind == "a row of zeros":
        logits[:, 0] = 0
    elif kind == "a pair excluded" and slots > 1 and tokens > 1:
        logits[:, 0, 0] = -math.inf
    if marginals.startswith("a slot") and slots > 2 and tokens > 2:
        rows[0], cols[1] = 0, 0
    given_marginals = () if marginals == "uniform" else (rows, cols)
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    # Both round at the size of the logits.
    tolerance = 1e-9 if spread <= 50 else 1e-6
    results = []
    for scale in (sinkhorn, in_log_domain):
        leaf = logits.clone().requires_grad_()
        plan = scale(leaf, num_iters, *given_marginals)
        results.append((plan.detach(), *torch.autograd.grad((plan * weights).sum(), leaf)))
    (plan, gradient), (expected, expected_gradient) = results
    assert torch.isfinite(plan).all()
    torch.testing.assert_close(plan, expected, rtol=tolerance, atol=tolerance * expected.max().item())
    torch.testing.assert_close(gradient, expected_gradient, rtol=tolerance, atol=tolerance)


@settings(max_examples=examples(30), deadline=None)
@given(seed=st.integers(0, 10**6), num_iters=st.sampled_from([1, 8, 20, 60]), spread=SPREADS)
def test_single_precision_is_finite_and_as_exact_as_the_log_domain(seed, num_iters, spread):
    exact = problem(seed, 6, 800, spread)[0].float().double()
    weights = torch.randn(exact.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def solve(scale, logits):
        leaf = logits.clone().requires_grad_()
        plan = scale(leaf, num_iters)
        gradient = torch.autograd.grad((plan * weights.to(plan)).sum(), leaf)[0]
        return plan.detach().double(), gradient.double()

    expected = solve(in_log_domain, exact)
    for ours, logs, truth in zip(
        solve(sinkhorn, exact.float()), solve(in_log_domain, exact.float()), expected, strict=True
    ):
        assert torch.isfinite(ours).all()
        allowed = max(2 * (logs - truth).abs().max().item(), 1e-6 if spread <= 50 else 1e-5)
        assert (ours - truth).abs().max() <= allowed


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_iters", [7, 8, 40, 300])
def test_scales_that_grow_as_fast_as_they_can_neither_overflow_nor_vanish(dtype, num_iters):
    logits = rivals(3, 4352, 60.0 if dtype == torch.float32 else 800.0)
    weights = torch.randn(4352, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    results = []
    for scale, number in ((sinkhorn, dtype), (in_log_domain, torch.float64)):
        leaf = logits.to(number).requires_grad_()
        plan = scale(leaf, num_iters)
        (gradient,) = torch.autograd.grad((plan * weights * torch.arange(1, 4).unsqueeze(1)).sum(), leaf)
        results.append((plan.detach().double(), gradient.double()))
    (plan, gradient), (expected, expected_gradient) = results
    accuracy = 1e-4 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(plan, expected, rtol=accuracy, atol=1e-30)
    # Twice: on CPUs of narrower vectors, sums over 4,352 places round more often.
    torch.testing.assert_close(gradient, expected_gradient, rtol=accuracy, atol=2 * accuracy / 4352)


def test_gradient_of_marginals_is_exact_over_more_than_one_kernel():
    logits, rows, cols = problem(4, 3, 5)
    rows[0], cols[2] = 1e-40, 1e-40  # two iterations are safe on one kernel
    inputs = [value.requires_grad_() for value in (logits, rows, cols)]
    results = []
    for scale in (sinkhorn, in_log_domain):
        plan = scale(logits, 9, rows, cols)
        results.append(torch.autograd.grad((plan * torch.arange(5) ** 2).sum(), inputs))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


def test_autocast_changes_neither_the_plan_nor_the_gradient():
    logits = problem(5, 6, 200)[0].float().requires_grad_()

    def solve():
        plan = sinkhorn(logits, 8)
        return plan, torch.autograd.grad((plan**2).sum(), logits)[0]

    plan, gradient = solve()
    with torch.autocast("cpu", torch.bfloat16):
        cast_plan, cast_gradient = solve()
    assert torch.equal(plan, cast_plan)
    assert torch.equal(gradient, cast_gradient)


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
