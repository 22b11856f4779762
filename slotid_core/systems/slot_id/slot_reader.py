"""The slot reader: learnable queries, routed to tokens and refined by a GRU (Slot-ID, section 3.2.3)."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from ...errors import SlotIDError
from ...ranges import Count, Range, check_ranges
from .sinkhorn import sinkhorn

EPSILON = 1e-12


@dataclass(frozen=True)
class SlotReaderConfig:
    """How slots read tokens.

    `plan_normalization`: "row" makes each slot's weights over the tokens sum to 1, the convex average that the
    paper's text describes; "paper" follows its last equation literally (rows, then columns), under which a
    slot's weights sum to L/S and the aggregate grows with the clip's length.
    """

    num_slots: Count = 6
    num_refinements: Annotated[int, Range(1, 100)] = 3
    sinkhorn_iterations: Annotated[int, Range(1, 1000)] = 8
    routing: Literal["sinkhorn", "softmax"] = "sinkhorn"
    plan_normalization: Literal["row", "paper"] = "row"

    def __post_init__(self):
        check_ranges(self)
        if self.routing not in ("sinkhorn", "softmax"):
            raise SlotIDError(f"routing is 'sinkhorn' or 'softmax'; got {self.routing!r}.")
        if self.plan_normalization not in ("row", "paper"):
            raise SlotIDError(f"plan_normalization is 'row' or 'paper'; got {self.plan_normalization!r}.")


class SlotReader(nn.Module):
    """tokens (B, L, D) -> slots (B, S, D) and the assignment (B, S, L) of the last refinement.

    The assignment is the probability of a slot given a token: it sums to 1 over slots.
    """

    def __init__(self, config: SlotReaderConfig, width: int):
        super().__init__()
        self.config = config
        self.queries = nn.Parameter(torch.randn(config.num_slots, width))
        self.gru = nn.GRUCell(width, width)

    def forward(self, tokens: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        batch, _, width = tokens.shape
        slots = self.queries.to(tokens.dtype).expand(batch, -1, -1)  # (B, S, D)
        for _ in range(self.config.num_refinements):
            logits = slots @ tokens.transpose(1, 2) / (width**0.5 * temperature)  # (B, S, L)
            plan = self.route(logits)
            weights = normalize_plan(plan, self.config.plan_normalization).to(tokens.dtype)
            update = weights @ tokens  # (B, S, D)
            slots = self.gru(update.flatten(0, 1), slots.flatten(0, 1)).view_as(slots)
        return slots, plan / (plan.sum(dim=1, keepdim=True) + EPSILON)

    def route(self, logits: Tensor) -> Tensor:
        """logits (B, S, L) -> non-negative plan (B, S, L). Softmax is over slots, as in slot attention."""
        if self.config.routing == "softmax":
            return logits.float().softmax(dim=1)
        return sinkhorn(logits, self.config.sinkhorn_iterations) * logits.shape[2]


def normalize_plan(plan: Tensor, mode: Literal["row", "paper"]) -> Tensor:
    """Turn a plan (B, S, L) into aggregation weights; see `SlotReaderConfig.plan_normalization`."""
    weights = plan / (plan.sum(dim=2, keepdim=True) + EPSILON)
    if mode == "paper":
        weights = weights / (weights.sum(dim=1, keepdim=True) + EPSILON)
    return weights
