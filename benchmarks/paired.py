"""Ratios of two functions timed in turn, so that a drift of the machine's speed hits both."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """What was compared, and how often longer the first took than the second: median, and the middle half."""

    claim: str
    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.claim:<78} {self.median:6.3f}   [{self.low:.3f}, {self.high:.3f}]"


def compare(claim: str, first: Callable[[], object], second: Callable[[], object], pairs: int = 15) -> Ratio:
    first(), second()
    ratios = []
    for index in range(pairs):
        # Whoever runs second in a pair finds warmer caches, so they take turns.
        order = (first, second) if index % 2 else (second, first)
        seconds = {function: _time(function) for function in order}
        ratios.append(seconds[first] / seconds[second])
    low, median, high = statistics.quantiles(ratios, n=4)
    return Ratio(claim, median, low, high)


def _time(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
