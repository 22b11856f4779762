"""Which frames make up the reference: counts of the form 4n+1, and sampling by presentation time.

Wan's VAE folds four frames into one latent frame after the first, so only 4n+1 frames encode without remainder.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

from ...errors import SlotIDError

Item = TypeVar("Item")
SAME_INSTANT = (
    1e-3  # seconds; decord gives times in single precision, and a tie must fall the same way for all decoders
)


def largest_window(available: int) -> int:
    """The largest 4n+1 that is at most `available`.

    Raises:
        SlotIDError: nothing is available.
    """
    if available < 1:
        raise SlotIDError(f"No window of frames fits into {available} frames. Give at least one frame.")
    return (available - 1) // 4 * 4 + 1


def sample_times(start: float, rate: float, count: int | None) -> Iterator[float]:
    """`count` times in seconds (None: without end), `1 / rate` apart, the first at `start`."""
    return (start + index / rate for index in (itertools.count() if count is None else range(count)))


def nearest_in_time(
    frames: Iterable[tuple[float, Item]], times: Iterable[float], tolerance: float
) -> Iterator[tuple[float, Item]]:
    """For each wanted time the frame presented nearest to it, reading `frames` once and holding two of them.

    Args:
        frames: (seconds, item) in order of presentation.
        times: wanted seconds, non-decreasing.
        tolerance: how far past the last frame, in seconds, a wanted time may still lie.

    Yields:
        (seconds, item); it stops at the first time that no frame covers.
    """
    stream = iter(frames)
    before = after = next(stream, None)
    for time in times:
        while after is not None and after[0] < time:
            before, after = after, next(stream, None)
        if before is None or (after is None and time > before[0] + tolerance):
            return
        yield before if after is None or time - before[0] <= after[0] - time + SAME_INSTANT else after


def every_frame_from(
    frames: Iterable[tuple[float, Item]], start: float, tolerance: float
) -> Iterator[tuple[float, Item]]:
    """All frames in order, beginning with the one presented at `start` (at most `tolerance` seconds before it)."""
    return ((time, item) for time, item in frames if time >= start - tolerance)
