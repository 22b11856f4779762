"""Entropic optimal transport between slots and tokens (Slot-ID, section 3.2.3)."""

import math

import torch
from torch import Tensor

from ...errors import SlotIDError
from .sinkhorn_scaling import Scaling, safe_iterations


def sinkhorn(
    logits: Tensor, num_iters: int, row_marginal: Tensor | None = None, col_marginal: Tensor | None = None
) -> Tensor:
    """Scale exp(logits) towards a coupling with the given marginals.

    Each iteration updates the rows (u), then the columns (v), so after any number of iterations the column
    marginal holds to rounding and the row marginal holds in the limit. Nothing is renormalised here.

    As many iterations as `safe_iterations` allows are matrix-vector products; then their scales are added to log u and
    the kernel is computed anew, so no logits overflow or underflow. Marginals that allow none, such as those with a
    zero, are iterated in the log domain.

    Args:
        logits: (B, S, L) scores, already divided by the temperature.
        num_iters: iterations, at least 1.
        row_marginal: (S,) or (B, S), mass of each slot; 1/S by default.
        col_marginal: (L,) or (B, L), mass of each token; 1/L by default.

    Returns:
        plan (B, S, L), non-negative, in float32 or float64. It is differentiable once.
    """
    if logits.dim() != 3:
        raise SlotIDError(f"Sinkhorn takes logits of shape (B, S, L); got {tuple(logits.shape)}.")
    if num_iters < 1:
        raise SlotIDError(f"Sinkhorn needs at least one iteration; got num_iters={num_iters}.")
    # Half precision cannot hold 1/L of a long clip beside the logits' range.
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    log_rows, log_cols = _log_marginal(row_marginal, logits, 1), _log_marginal(col_marginal, logits, 2)
    if row_marginal is None and col_marginal is None:
        log_growth = math.log(logits.shape[1] * logits.shape[2])
    else:
        log_growth = _log_growth(log_rows, log_cols)
    stride = safe_iterations(log_growth, logits.dtype)

    if stride == 0:
        return _in_log_domain(logits, log_rows, log_cols, num_iters - 1)
    log_u, now, left = None, stride - 1, num_iters - 1
    while left > now:
        log_u = Scaling.apply(logits, log_u, log_rows, log_cols, now, False)
        now, left = stride, left - now
    return Scaling.apply(logits, log_u, log_rows, log_cols, left, True)


def _in_log_domain(logits: Tensor, log_rows: Tensor, log_cols: Tensor, num_iters: int) -> Tensor:
    log_u = log_rows - torch.logsumexp(logits, dim=2)  # (B, S)
    log_v = log_cols - torch.logsumexp(logits + log_u.unsqueeze(2), dim=1)  # (B, L)
    for _ in range(num_iters):
        log_u = log_rows - torch.logsumexp(logits + log_v.unsqueeze(1), dim=2)  # (B, S)
        log_v = log_cols - torch.logsumexp(logits + log_u.unsqueeze(2), dim=1)
    return torch.exp(logits + log_u.unsqueeze(2) + log_v.unsqueeze(1))


def _log_marginal(marginal: Tensor | None, like: Tensor, dim: int) -> Tensor:
    """(B, size of `dim`)"""
    batch, size = like.shape[0], like.shape[dim]
    if marginal is None:
        return like.new_full((1, size), -math.log(size)).expand(batch, size)
    if marginal.shape[-1] != size:
        raise SlotIDError(f"A Sinkhorn marginal has {marginal.shape[-1]} entries where the logits have {size}.")
    return marginal.to(like).reshape(-1, size).log().expand(batch, size)


def _log_growth(log_rows: Tensor, log_cols: Tensor) -> float:
    """The bound that `safe_iterations` takes, largest over the batch. A mass of zero makes it infinite."""
    by_rows = log_cols.logsumexp(1) - log_rows.amin(1)  # (B,)
    by_cols = log_rows.logsumexp(1) - log_cols.amin(1)
    return (by_rows + by_cols).max().item()
