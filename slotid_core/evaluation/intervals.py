"""Bootstrap intervals over people: prompts of one person are not independent of each other."""

from collections.abc import Callable

import numpy as np

RESAMPLES = 2000

Statistic = Callable[[np.ndarray], float]


def bootstrap(values: np.ndarray, statistic: Statistic, seed: int = 0) -> tuple[float, float]:
    """95% percentile interval (Efron 1979) of `statistic`, by resampling the rows of `values` (people, ...)."""
    return _interval(len(values), lambda chosen: statistic(values[chosen]), seed)


def bootstrap_difference(
    first: np.ndarray, second: np.ndarray, statistic: Statistic, seed: int = 0
) -> tuple[float, float]:
    """As `bootstrap`, of statistic(first) - statistic(second), whose rows are the same people."""
    return _interval(len(first), lambda chosen: statistic(first[chosen]) - statistic(second[chosen]), seed)


def _interval(people: int, statistic: Statistic, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    resampled = [statistic(rng.integers(people, size=people)) for _ in range(RESAMPLES)]
    if not np.isfinite(resampled).any():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return float(low), float(high)


def mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
