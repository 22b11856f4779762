"""How often the router knows which component a token shows, beside always saying the most frequent one.

A small face has few tokens that show more of an eye than of skin. How far the weights follow the shares is told by
their correlation, component by component.
"""

from dataclasses import dataclass, field

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
    """
    Attributes:
        counts: (M, M), how many tokens show the component of the row and are routed to that of the column.
        moments: (6, M), over the same tokens: their number, and sums of w, y, w², y² and w·y of each component's weight
            w and share y.
    """

    counts: Tensor
    moments: Tensor = field(default_factory=lambda: torch.zeros(6, len(NAMES), dtype=torch.float64))

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(self.counts + other.counts, self.moments + other.moments)

    @property
    def correlations(self) -> dict[str, float]:
        """By component: Pearson's correlation of weight and share; NaN where one of them is constant."""
        number, w, y, ww, yy, wy = self.moments
        spread = ((number * ww - w * w) * (number * yy - y * y)).clamp(min=0).sqrt()
        values = torch.where(spread > 0, (number * wy - w * y) / spread, torch.nan)
        return dict(zip(NAMES, values.tolist(), strict=True))

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
    found = Confusion(torch.zeros(len(NAMES), len(NAMES)))
    for logits, index in seen:
        targets = token_targets(shares[index], people.shown[index], len(NAMES))  # (R, N, M)
        asked = targets.sum(dim=2) >= LEAST_SHARE
        weights, shares_of = (t[asked].double().cpu() for t in (logits.softmax(dim=2)[..., : len(NAMES)], targets))
        places = len(NAMES) * shares_of.argmax(dim=1) + weights.argmax(dim=1)
        counts = torch.bincount(places, minlength=len(NAMES) ** 2).view(len(NAMES), -1)
        sums = (torch.ones_like(weights), weights, shares_of, weights**2, shares_of**2, weights * shares_of)
        found += Confusion(counts.float(), torch.stack([values.sum(dim=0) for values in sums]))
    return found


def _share(part: Tensor, whole: Tensor) -> float:
    return float(part / whole) if whole else float("nan")
