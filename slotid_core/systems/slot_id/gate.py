"""The gate w: how much the portrait and how much the clip speak at each noise level (Slot-ID, section 3.2.2)."""

import itertools
import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from ...errors import SlotIDError
from ...ranges import Range, Share, check_ranges
from ...wan.sampling import shifted

FAMILIES = ("constant", "linear", "cosine", "sigmoid", "points")
GateFamily = Literal["constant", "linear", "cosine", "sigmoid", "points"]


@dataclass(frozen=True)
class GateSchedule:
    """w(t) over the noise level t in [0, 1], where 1 is pure noise; w weighs the portrait, 1 - w the clip.

    w never falls as t rises: the portrait speaks early in sampling, the clip takes over late.

    Attributes:
        family: shape of the curve. "constant" is `high` everywhere; "points" interpolates `points`.
        low, high: w at t = 0 and at t = 1, each in [0, 1].
        midpoint: noise level at which the sigmoid is halfway.
        steepness: slope of the sigmoid; 10 hands over within about half of the range.
        shift: flow shift of the sampling over which the curve is laid. At 1 it is a function of the noise level; at
            the shift that the model is sampled with, of the share of steps to come, most of which have high noise.
        points: (t, w) pairs in rising t, for "points".
    """

    family: GateFamily = "cosine"
    low: float = 0.0
    high: float = 1.0
    midpoint: Share = 0.5
    steepness: Annotated[float, Range(1e-3, 1e4)] = 10.0  # less, and both ends are one number in float32
    points: tuple[tuple[float, ...], ...] = ()
    shift: Annotated[float, Range(1, 1000)] = 1.0

    def __post_init__(self):
        if self.family not in FAMILIES:
            raise SlotIDError(f"Gate family is one of {', '.join(FAMILIES)}; got {self.family!r}.")
        if not 0 <= self.low <= self.high <= 1:
            raise SlotIDError(f"The gate needs 0 <= low <= high <= 1; got low={self.low}, high={self.high}.")
        check_ranges(self)
        if self.family == "points":
            check_points(self.points)

    def __call__(self, noise_level: Tensor) -> Tensor:
        """noise_level, any shape, values in [0, 1] -> w of the same shape, in float32."""
        t = torch.as_tensor(noise_level).float().clamp(0, 1)
        t = shifted(t, 1 / self.shift)
        if self.family == "points":
            return interpolate(t, self.points)
        if self.family == "constant":
            rise = torch.ones_like(t)
        elif self.family == "linear":
            rise = t
        elif self.family == "cosine":
            rise = (1 - torch.cos(math.pi * t)) / 2
        else:
            ends = torch.sigmoid(self.steepness * (torch.tensor([0.0, 1.0]) - self.midpoint))
            rise = (torch.sigmoid(self.steepness * (t - self.midpoint)) - ends[0]) / (ends[1] - ends[0])
        return self.low + (self.high - self.low) * rise


def check_points(points: tuple[tuple[float, ...], ...]) -> None:
    if not points or any(len(point) != 2 for point in points):
        raise SlotIDError(f"The gate family 'points' needs (noise level, w) pairs; got {points!r}.")
    levels, weights = zip(*points, strict=True)
    rising = all(a < b for a, b in itertools.pairwise(levels))
    not_falling = all(a <= b for a, b in itertools.pairwise(weights))
    if not rising or not not_falling or not all(0 <= value <= 1 for value in levels + weights):
        raise SlotIDError(
            f"Gate points must lie in [0, 1], with rising noise levels and w that never falls; got {points!r}."
        )


def interpolate(t: Tensor, points: tuple[tuple[float, ...], ...]) -> Tensor:
    """Piecewise linear through the points, level before the first and after the last."""
    levels, weights = (torch.tensor(column, device=t.device, dtype=t.dtype) for column in zip(*points, strict=True))
    if len(points) == 1:
        return weights[0].expand_as(t)
    right = torch.searchsorted(levels, t.contiguous()).clamp(1, len(points) - 1)
    left = right - 1
    fraction = ((t - levels[left]) / (levels[right] - levels[left])).clamp(0, 1)
    return torch.lerp(weights[left], weights[right], fraction)
