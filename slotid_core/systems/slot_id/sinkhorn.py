"""Entropic optimal transport between slots and tokens (Slot-ID, section 3.2.3), in the log domain."""

import math

import torch
from torch import Tensor

from ...errors import SlotIDError


def sinkhorn(
    logits: Tensor, num_iters: int, row_marginal: Tensor | None = None, col_marginal: Tensor | None = None
) -> Tensor:
    """Scale exp(logits) towards a coupling with the given marginals.

    Each iteration updates the rows (u), then the columns (v), so after any number of iterations the column
    marginal holds to rounding and the row marginal holds in the limit. Nothing is renormalised here.

    Args:
        logits: (B, S, L) scores, already divided by the temperature.
        num_iters: iterations, at least 1.
        row_marginal: (S,) or (B, S), mass of each slot; 1/S by default.
        col_marginal: (L,) or (B, L), mass of each token; 1/L by default.

    Returns:
        plan (B, S, L), non-negative, in float32 or float64.
    """
    if logits.dim() != 3:
        raise SlotIDError(f"Sinkhorn takes logits of shape (B, S, L); got {tuple(logits.shape)}.")
    if num_iters < 1:
        raise SlotIDError(f"Sinkhorn needs at least one iteration; got num_iters={num_iters}.")
    # Half precision cannot hold 1/L of a long clip beside the logits' range.
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    num_slots, num_tokens = logits.shape[1:]
    log_rows = _log_marginal(row_marginal, num_slots, logits)  # (B or 1, S)
    log_cols = _log_marginal(col_marginal, num_tokens, logits)  # (B or 1, L)

    log_v = torch.zeros_like(logits[:, 0])  # (B, L)
    for _ in range(num_iters):
        log_u = log_rows - torch.logsumexp(logits + log_v.unsqueeze(1), dim=2)  # (B, S)
        log_v = log_cols - torch.logsumexp(logits + log_u.unsqueeze(2), dim=1)  # (B, L)
    return torch.exp(logits + log_u.unsqueeze(2) + log_v.unsqueeze(1))


def _log_marginal(marginal: Tensor | None, size: int, like: Tensor) -> Tensor:
    if marginal is None:
        return like.new_full((1, size), -math.log(size))
    if marginal.shape[-1] != size:
        raise SlotIDError(f"A Sinkhorn marginal has {marginal.shape[-1]} entries where the logits have {size}.")
    return marginal.to(like).reshape(-1, size).log()
