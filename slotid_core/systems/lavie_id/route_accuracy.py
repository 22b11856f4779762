"""How often the router knows which component a token shows, beside always saying the most frequent one."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...reference.portrait.components import NAMES
from ...wan import WanModel
from .adapter import LaVieIDAdapter
from .inference import People, predict_velocity, rows_with_somebody
from .injection import RouterCondition
from .route_loss import token_targets

NOISE_LEVELS = (0.2, 0.5, 0.8)
LEAST_SHARE = 0.2  # of a token that its components must cover together, to be asked


@dataclass(frozen=True)
class Confusion:
    """counts (M, M): how many tokens show the component of the row and are routed to that of the column."""

    counts: Tensor

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(self.counts + other.counts)

    @property
    def accuracy(self) -> float:
        """Share of tokens that are routed to the component that they show most of."""
        return _share(self.counts.diagonal().sum(), self.counts.sum())

    @property
    def majority(self) -> float:
        """The accuracy of always naming the most frequent component."""
        return _share(self.counts.sum(dim=1).max(), self.counts.sum())

    @property
    def balanced(self) -> float:
        """Mean over the components that occur; 1 / their number by always naming one."""
        recalls = [value for value in self.recalls.values() if value is not None]
        return sum(recalls) / len(recalls) if recalls else float("nan")

    @property
    def recalls(self) -> dict[str, float | None]:
        """By component: the share of its tokens that is routed to it; None where there is none."""
        totals = self.counts.sum(dim=1)
        return {name: _share(self.counts[m, m], totals[m]) if totals[m] else None for m, name in enumerate(NAMES)}

    @property
    def precisions(self) -> dict[str, float | None]:
        """By component: the share of tokens routed to it that show it; None where none is."""
        totals = self.counts.sum(dim=0)
        return {name: _share(self.counts[m, m], totals[m]) if totals[m] else None for m, name in enumerate(NAMES)}

    def table(self) -> str:
        """The counts, a row for each component shown and a column for each one routed to."""
        width = max(7, *(len(name) + 1 for name in NAMES))
        rows = [" " * width + "".join(name.rjust(width) for name in NAMES)]
        for name, counts in zip(NAMES, self.counts.tolist(), strict=True):
            rows.append(name.ljust(width) + "".join(str(int(count)).rjust(width) for count in counts))
        return "\n".join(rows)


@torch.no_grad()
def confusion(
    model: WanModel,
    adapter: LaVieIDAdapter,
    people: People,
    video: Tensor,
    noise: Tensor,
    noise_level: float,
    context: Tensor,
    shares: Tensor,
) -> Confusion:
    """Of clips and the people in them, at one noise level.

    Args:
        video, noise: (B, 16, T, H, W); context: (B, M, 4096), as for a prediction.
        shares: (B, 7, T, h, w), what each token shows, nothing of a face first.
    """
    level = torch.full((len(video),), noise_level, device=video.device)
    seen: list[tuple[Tensor, Tensor]] = []
    rows = rows_with_somebody(people, torch.ones_like(level))
    routes = adapter.router.routes(people.tokens, people.shown)
    condition = RouterCondition(adapter.router, routes, rows, note=lambda *what: seen.append(what))
    predict_velocity(model, torch.lerp(video, noise, noise_level), level, context, condition)
    counts = torch.zeros(len(NAMES), len(NAMES))
    for logits, index in seen:
        targets = token_targets(shares[index], people.shown[index], len(NAMES))  # (R, N, M)
        asked = targets.sum(dim=2) >= LEAST_SHARE
        true, said = targets.argmax(dim=2)[asked], logits[..., : len(NAMES)].argmax(dim=2)[asked]
        counts += torch.bincount(len(NAMES) * true + said, minlength=counts.numel()).view_as(counts).cpu()
    return Confusion(counts)


def _share(part: Tensor, whole: Tensor) -> float:
    return float(part / whole) if whole else float("nan")
