"""What is estimated from people, in many resamples at once.

An estimator takes values (people, ...) and counts (resamples, people): how often a resample has each person. It returns
(resamples,). What cannot be estimated in a resample is NaN.
"""

from collections.abc import Callable

import numpy as np

from ..toy_world.judges import RANGES

Estimator = Callable[[np.ndarray, np.ndarray], np.ndarray]
LEAST_SPREAD = 1e-12  # of a variance, as a share of that of all people: less is rounding


def estimate(values: np.ndarray, estimator: Estimator) -> float:
    """The estimate from everybody, each counted once."""
    return float(estimator(values, np.ones((1, len(values))))[0])


def mean(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean of what is not NaN."""
    known, axes = np.isfinite(values), tuple(range(1, values.ndim))
    return ratio(counts @ np.where(known, values, 0.0).sum(axes), counts @ known.sum(axes))


def correlation(pairs: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over factors of Pearson's correlation between estimates and truth; pairs (people, clips, factors, 2)."""
    return _mean_of_known([_pearson(pairs[:, :, factor], counts) for factor in range(pairs.shape[2])])


def dynamics_error(pairs: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over factors of the mean distance between estimates and truth, as a share of the factor's range."""
    distance = np.abs(pairs[..., 0] - pairs[..., 1]) / np.array([high - low for low, high in RANGES])
    return _mean_of_known([mean(distance[:, :, factor], counts) for factor in range(distance.shape[2])])


def area_under_curve(pairs: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over marks of how often a clip that should show one scores above one that should not; chance is 0.5.

    Pairs (people, clips, marks, 2) are a score and 1 or 0 for what should be seen.
    """
    return _mean_of_known([_area(pairs[:, :, mark], counts) for mark in range(pairs.shape[2])])


def constant_guess(pairs: np.ndarray) -> np.ndarray:
    """Pairs (people, clips, factors, 2) whose estimates are the middle of each factor's range."""
    middles = np.array([(low + high) / 2 for low, high in RANGES])
    guesses = np.where(np.isfinite(pairs[..., 0]), middles, np.nan)
    return np.stack([guesses, pairs[..., 1]], axis=-1)


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) != 0)


def _pearson(pairs: np.ndarray, counts: np.ndarray) -> np.ndarray:
    known = np.isfinite(pairs).all(axis=-1)
    if not known.any():
        return np.full(len(counts), np.nan)
    # About the mean of everybody, because differences of large sums lose digits.
    x, y = (np.where(known, side - side[known].mean(), 0.0) for side in (pairs[..., 0], pairs[..., 1]))
    sums = np.stack([known, x, y, x * x, y * y, x * y]).sum(axis=2)  # (6, people)
    number, sx, sy, sxx, syy, sxy = (counts @ sums.T).T
    with np.errstate(divide="ignore", invalid="ignore"):
        variances = np.stack([sxx - sx * sx / number, syy - sy * sy / number]) / number
        spread = np.stack([(x * x).sum(), (y * y).sum()]) / known.sum()
        usable = (number > 2) & (variances > LEAST_SPREAD * spread[:, None]).all(axis=0)
        r = (sxy - sx * sy / number) / number / np.sqrt(variances.prod(axis=0))
    return np.where(usable, r, np.nan)


def _area(pairs: np.ndarray, counts: np.ndarray) -> np.ndarray:
    score, seen = pairs[..., 0], pairs[..., 1]
    known = np.isfinite(score)
    # Which person each clip is of, and its score.
    (ours, shown), (theirs, hidden) = (
        (np.nonzero(part)[0], score[part]) for part in (known & (seen == 1), known & (seen == 0))
    )
    above = (shown[:, None] > hidden) + 0.5 * (shown[:, None] == hidden)
    wins = np.zeros((len(pairs), len(pairs)))  # of the first person's clips with the mark over the second's without
    np.add.at(wins, (ours[:, None], theirs[None, :]), above)
    with_mark, without = (np.bincount(people, minlength=len(pairs)) for people in (ours, theirs))
    return ratio(((counts @ wins) * counts).sum(axis=1), (counts @ with_mark) * (counts @ without))


def _mean_of_known(estimates: list[np.ndarray]) -> np.ndarray:
    stacked = np.stack(estimates)
    known = np.isfinite(stacked)
    return ratio(np.where(known, stacked, 0.0).sum(axis=0), known.sum(axis=0))
