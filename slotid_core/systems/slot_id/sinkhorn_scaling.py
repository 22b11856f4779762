"""Sinkhorn iterations as matrix-vector products, and the bound that keeps them exact without looking at the logits.

The kernel is exp(logits + log u), each column divided by its maximum. Its entries that underflow may matter later, when
u has grown. How far u can grow is bounded (Peyré and Cuturi, Computational Optimal Transport, section 4.2: an iteration
does not expand in Hilbert's metric). After any update of the rows, every further iteration multiplies each entry of u
by at least r_min / C and at most R / c_min, with R and C the total masses of rows and columns. So the spread of log u
grows by at most log(C / r_min) + log(R / c_min) an iteration, which is log(S L) for uniform marginals.
"""

import contextlib
import math
from typing import Any

import torch
from torch import Tensor


def safe_iterations(log_growth: float, dtype: torch.dtype) -> int:
    """The iterations on one kernel after which what has underflowed in it is still below the dtype's rounding.

    Args:
        log_growth: bound on the growth of the spread of log u in an iteration.
    """
    if not math.isfinite(log_growth):
        return 0
    precision = torch.finfo(dtype)
    room = math.log(precision.eps) - math.log(precision.tiny)
    # One growth more, as a row's mass can be that much smaller than its share before the row is updated.
    return max(int(room / max(log_growth, 1.0)) - 1, 0)


class Scaling(torch.autograd.Function):
    """(logits, log_u, log_rows, log_cols, num_iters, last) -> log_u after `num_iters` updates of the columns, then the
    rows; or, if this is `last`, the plan after one more update of the columns.

    logits and the plan (B, S, L); log_u and log_rows (B, S); log_cols (B, L), finite. All of one dtype. Without log_u
    the rows are updated first, from scales of 1 for the columns; as a row's maximum stands for its sum until then, that
    counts as an iteration. They are at most `safe_iterations`. The gradient is written out, as autograd would add a
    (B, S, L) tensor for every product. It can be taken once.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, log_u: Tensor | None, log_rows: Tensor, log_cols: Tensor, num_iters: int, last: bool
    ) -> Tensor:
        shift = -logits.amax(2) if log_u is None else log_u  # (B, S)
        kernel = logits + shift.unsqueeze(2)  # (B, S, L)
        largest = kernel.amax(1, keepdim=True)  # (B, 1, L)
        kernel.sub_(largest).exp_()
        rows, cols = log_rows.exp().unsqueeze(1), log_cols.exp().unsqueeze(1)  # (B, 1, S), (B, 1, L)
        before = largest.exp_() if log_u is None else largest[:, :0]  # scales of 1, in this kernel's terms
        v = torch.empty_like(cols)
        with _own_precision(logits):
            # This order of factors is up to three times as fast as kernel @ v on a CPU.
            u = rows / torch.bmm(before, kernel.mT) if log_u is None else torch.ones_like(rows)
            scales = [u]
            for _ in range(num_iters):
                torch.div(cols, torch.bmm(u, kernel, out=v), out=v)
                u = rows / torch.bmm(v, kernel.mT)
                scales.append(u)
            ctx.last = last
            ctx.save_for_backward(kernel, rows, cols, torch.cat(scales, dim=1), before)
            if last:
                return (kernel * u.mT).mul_(cols / torch.bmm(u, kernel))
        return shift + u.squeeze(1).log()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kernel, rows, cols, u, before = ctx.saved_tensors  # u: (B, num_iters + 1, S)
        given = 1 - before.shape[1]  # how many u are from outside: one or none
        with _own_precision(kernel):
            v = cols / torch.bmm(u, kernel)  # (B, num_iters + 1, L), each v from the u of its index
            of_u, of_v = torch.zeros_like(u), torch.zeros_like(v)  # gradients of log u and log v
            if ctx.last:
                of_plan = grad * (kernel * u[:, -1:].mT).mul_(v[:, -1:])  # of the plan's logarithm
                of_u[:, -1], of_v[:, -1] = of_plan.sum(2), of_plan.sum(1)
                of_u[:, -1:] -= u[:, -1:] * torch.bmm(of_v[:, -1:] * v[:, -1:] / cols, kernel.mT)
            else:
                of_plan = 0
                of_u[:, -1] = grad
            for step in reversed(range(u.shape[1] - 1)):
                now, after = slice(step, step + 1), slice(step + 1, step + 2)
                of_v[:, now] = -v[:, now] * torch.bmm(of_u[:, after] * u[:, after] / rows, kernel)
                of_u[:, now] = -u[:, now] * torch.bmm(of_v[:, now] * v[:, now] / cols, kernel.mT)
            by_rows, by_cols = of_u[:, given:] * u[:, given:] / rows, of_v * v / cols
            of_kernel = torch.bmm(torch.cat([by_rows, u], 1).mT, torch.cat([before, v[:, :-1], by_cols], 1))
        of_given = of_u[:, 0] if given else None
        return of_plan - kernel * of_kernel, of_given, of_u[:, given:].sum(1), of_v.sum(1), None, None


def _own_precision(tensor: Tensor) -> contextlib.AbstractContextManager:
    """Autocast would multiply in half precision."""
    device = tensor.device.type
    if torch.amp.is_autocast_available(device):
        return torch.autocast(device, enabled=False)
    return contextlib.nullcontext()
