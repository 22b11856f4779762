"""Two rows of the same people compared: the difference, its interval, and how likely chance is to give it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .estimators import Estimator, estimate
from .intervals import percentiles, resamples

# Holm's correction multiplies a p-value by up to the number of tests, and the least p-value is 2 in so many.
TEST_RESAMPLES = 50_000


@dataclass(frozen=True)
class Difference:
    """`value` is the mean over training seeds, `low` and `high` its 95% interval over people, `p` two-sided; `seeds`
    has the difference of each training seed.
    """

    value: float
    low: float
    high: float
    p: float
    seeds: tuple[float, ...]

    @property
    def one_direction(self) -> bool:
        """Whether all training seeds differ in the direction of the mean."""
        return all(seed * self.value > 0 for seed in self.seeds)


def paired_difference(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray], estimator: Estimator, seed: int = 0
) -> Difference | None:
    """Estimate of `first` minus that of `second`, averaged over training seeds; None if it cannot be estimated.

    Args:
        first, second: values (people, ...) of each training seed; the same people, and as many seeds, in both.
        seed: of the resampling of people.
    """
    pairs = list(zip(first, second, strict=True))
    values = [estimate(ours, estimator) - estimate(theirs, estimator) for ours, theirs in pairs]
    if not np.isfinite(values).all():
        return None
    counts = resamples(len(first[0]), TEST_RESAMPLES, seed)
    resampled = np.mean([estimator(ours, counts) - estimator(theirs, counts) for ours, theirs in pairs], axis=0)
    return Difference(float(np.mean(values)), *percentiles(resampled), two_sided(resampled), tuple(values))


def two_sided(resampled: np.ndarray) -> float:
    """Two-sided p of resampled differences: twice the smaller share on one side of zero, with one added to both numbers
    so that it is never 0 (Davison and Hinkley 1997, section 4.2).
    """
    known = resampled[np.isfinite(resampled)]
    if not len(known):
        return float("nan")
    fewer = min((known <= 0).sum(), (known >= 0).sum())
    return float(min(1.0, 2 * (fewer + 1) / (len(known) + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, so that all that are below 5% are right in 95% of such sets (Holm 1979).

    NaN is a test of the set that has not been made. It counts as p = 1, so a result stays when others are added.
    """
    given = np.asarray(p_values, dtype=float)
    filled = np.where(np.isfinite(given), given, 1.0)
    order = np.argsort(filled, kind="stable")
    stepped = filled[order] * np.arange(len(filled), 0, -1)
    corrected = np.empty(len(filled))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return np.where(np.isfinite(given), corrected, np.nan).tolist()
