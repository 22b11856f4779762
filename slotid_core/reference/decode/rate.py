"""Frames at one rate to frames at another: the nearest in time, none blended, 4n+1 of them."""

from dataclasses import dataclass

import torch

from ...errors import SlotIDError
from .window import largest_window, nearest_in_time, sample_times

SAME_RATE = 0.01  # relative; 29.97 is 30


@dataclass(frozen=True)
class RetimedFrames:
    """frames (T, H, W, 3) with T = 4n+1, and what is wrong with them, a sentence each."""

    frames: torch.Tensor
    warnings: tuple[str, ...] = ()


def nearest_frames(count: int, rate: float, wanted_rate: float, most: int | None = None) -> list[int]:
    """Which of `count` frames at `rate` per second are nearest to the ticks of `wanted_rate`; the first is 0.

    A slower clip gives frames twice. Rates that differ by a percent at most count as equal.

    Args:
        most: ticks, where the rates differ; None for all until the clip ends.

    Returns:
        Indices that never fall, 4n+1 of them.

    Raises:
        SlotIDError: a rate is not above 0.
    """
    for name, value in (("The clip's rate", rate), ("The wanted rate", wanted_rate)):
        if not 0 < value < float("inf"):
            raise SlotIDError(f"{name} is {value}; it must be above 0 frames per second.")
    if abs(rate - wanted_rate) <= SAME_RATE * wanted_rate:
        return list(range(largest_window(count)))
    frames = ((index / rate, index) for index in range(count))
    chosen = [index for _, index in nearest_in_time(frames, sample_times(0.0, wanted_rate, most), 0.5 / rate)]
    return chosen[: largest_window(len(chosen))]


def at_rate(frames: torch.Tensor, rate: float, wanted_rate: float, usual_frames: int) -> RetimedFrames:
    """A clip as something reads it that learnt from clips of one rate and length.

    Frames of a slower clip are repeated: movement then keeps its speed but comes in steps. Repeating does not make a
    clip longer than `usual_frames`.

    Args:
        frames: (T, H, W, 3).
        rate: frames per second of the clip; 0 where nobody knows it, which leaves the frames as they are.
        wanted_rate: frames per second of the result.
        usual_frames: how many frames the reader learnt from.
    """
    count = len(frames)
    if not rate:
        kept = frames[: largest_window(count)]
        return RetimedFrames(kept, (_unknown(wanted_rate),) if len(kept) > 1 else ())
    chosen = nearest_frames(count, rate, wanted_rate, max(count, usual_frames))
    if chosen == list(range(len(chosen))):
        return RetimedFrames(frames[: len(chosen)])
    warnings = []
    if repeats := len(chosen) - len(set(chosen)):
        warnings.append(
            f"The clip has {rate:.3g} frames per second, fewer than the adapter's {wanted_rate:.3g}: {repeats} of "
            f"{len(chosen)} frames are repeats, in which nothing moves. Film at {wanted_rate:.3g} or more."
        )
    elif len(chosen) < min(count, usual_frames):
        warnings.append(
            f"{count} frames at {rate:.3g} per second last {count / rate:.2g} s, which is {len(chosen)} frames at the "
            f"adapter's {wanted_rate:.3g} per second; it learnt from {usual_frames}. Set sample_rate of Load Reference "
            f"Video to {wanted_rate:.3g}, or take more frames."
        )
    return RetimedFrames(frames[chosen], tuple(warnings))


def _unknown(wanted_rate: float) -> str:
    return (
        f"The face clip's frames per second are not known, so every frame is taken; the adapter reads "
        f"{wanted_rate:.3g} per second. Connect fps of Load Reference Video to fps here, or write the rate there."
    )
