"""Bootstrap intervals over people: prompts of one person are not independent of each other."""

from collections.abc import Callable

import numpy as np

RESAMPLES = 2000


def bootstrap(values: np.ndarray, statistic: Callable[[np.ndarray], float], seed: int = 0) -> tuple[float, float]:
    """95% percentile interval (Efron 1979) of `statistic`, by resampling the rows of `values` (people, ...)."""
    rng = np.random.default_rng(seed)
    told = [statistic(values[rng.integers(len(values), size=len(values))]) for _ in range(RESAMPLES)]
    if not np.isfinite(told).any():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(told, [2.5, 97.5])
    return float(low), float(high)


def mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
