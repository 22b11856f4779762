"""Bootstrap intervals over people: prompts of one person are not independent of each other."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from .estimators import Estimator

RESAMPLES = 2000
Interval = tuple[float, float]


def bootstrap(values: np.ndarray, estimator: Estimator, seed: int = 0) -> Interval:
    """95% percentile interval (Efron 1979) of an estimate, by resampling the rows of `values` (people, ...)."""
    return bootstrap_of_seeds([values], estimator, seed)


def bootstrap_of_seeds(parts: Sequence[np.ndarray], estimator: Estimator, seed: int = 0) -> Interval:
    """As `bootstrap`, of the mean of the estimates of several training seeds, whose rows are the same people."""
    counts = resamples(len(parts[0]), RESAMPLES, seed)
    return percentiles(np.mean([estimator(values, counts) for values in parts], axis=0))


def bootstrap_difference(first: np.ndarray, second: np.ndarray, estimator: Estimator, seed: int = 0) -> Interval:
    """As `bootstrap`, of the estimate of `first` minus that of `second`, whose rows are the same people."""
    counts = resamples(len(first), RESAMPLES, seed)
    return percentiles(estimator(first, counts) - estimator(second, counts))


@lru_cache(maxsize=4)
def resamples(people: int, count: int, seed: int) -> np.ndarray:
    """(count, people): how often each resample has each person."""
    chosen = np.random.default_rng(seed).integers(people, size=(count, people))
    counts = np.stack([np.bincount(row, minlength=people) for row in chosen]).astype(float)
    counts.flags.writeable = False
    return counts


def percentiles(resampled: np.ndarray) -> Interval:
    """The middle 95% of what is not NaN; NaN if everything is."""
    known = resampled[np.isfinite(resampled)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
