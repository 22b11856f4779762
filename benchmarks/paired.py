"""Ratios of two functions timed in turn, so that a drift of the machine's speed hits both."""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Ratio:
    """What was compared, and how often longer the first took than the second: median, and the middle half."""

    claim: str
    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.claim:<78} {self.median:6.3f}   [{self.low:.3f}, {self.high:.3f}]"


def compare(
    claim: str,
    first: Callable[[], object],
    second: Callable[[], object],
    pairs: int = 15,
    clock: Callable[[], float] = time.perf_counter,
) -> Ratio:
    first(), second()
    ratios = []
    for index in range(pairs):
        # Whoever runs second in a pair finds warmer caches, so they take turns.
        order = (first, second) if index % 2 else (second, first)
        seconds = {function: _time(function, clock) for function in order}
        ratios.append(seconds[first] / seconds[second])
    low, median, high = statistics.quantiles(ratios, n=4)
    return Ratio(claim, median, low, high)


def compare_on_one_core(
    claim: str, first: Callable[[], object], second: Callable[[], object], pairs: int = 15
) -> Ratio:
    """By CPU seconds of one thread, which other work on the machine changes least."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return compare(claim, first, second, pairs, time.process_time)
    finally:
        torch.set_num_threads(threads)


def compare_rarely(firsts: dict[str, Callable[[], object]], second: Callable[[], object]) -> list[Ratio]:
    """Ratios by claim of functions that take minutes: all of them once, then once more in the opposite order.

    By CPU seconds, which do not grow when something else takes the machine for a while.
    """
    functions = {"": second, **firsts}
    seconds: dict[str, list[float]] = {claim: [] for claim in functions}
    for claims in (list(functions), list(functions)[::-1]):
        for claim in claims:
            seconds[claim].append(_time(functions[claim], time.process_time))
            print(f"  {seconds[claim][-1]:.1f} s  {claim or 'without'}", file=sys.stderr, flush=True)
    base = seconds.pop("")
    results = []
    for claim, own in seconds.items():
        both = sorted(one / other for one, other in zip(own, base, strict=True))
        results.append(Ratio(claim, sum(own) / sum(base), both[0], both[1]))
    return results


def _time(function: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    function()
    return clock() - start
