"""Bounds of the numbers that settings and the headers of files may hold."""

import types
import typing
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from .errors import SlotIDError


@dataclass(frozen=True)
class Range:
    """Bounds of a number, both included; NaN lies within none. Written as `Annotated[int, Range(1, 8)]`."""

    low: float
    high: float


# Far beyond any model there is, and small enough to build without weights in a second.
Width = Annotated[int, Range(1, 2**17)]
Depth = Annotated[int, Range(1, 512)]  # blocks of a video model
Layers = Annotated[int, Range(0, 512)]  # of a network of ours; none is a network too
Count = Annotated[int, Range(1, 4096)]  # heads, tokens, ranks, frames
Pixels = Annotated[int, Range(1, 8192)]
Side = Annotated[int, Range(0, 8192)]  # pixels; 0 leaves it to something else
Patch = Annotated[int, Range(1, 64)]
Share = Annotated[float, Range(0, 1)]
Step = Annotated[int, Range(0, 2**53)]
Many = Annotated[int, Range(1, 2**53)]


def check_ranges(settings: Any) -> None:
    """Check the numbers of a dataclass whose types have a `Range`; to be its `__post_init__`, or called by it.

    Raises:
        SlotIDError: a number lies outside.
    """
    for name, hint in _hints(type(settings)).items():
        _check(hint, getattr(settings, name), name)


@cache
def _hints(settings_class: type) -> dict[str, Any]:
    return typing.get_type_hints(settings_class, include_extras=True)


def _check(hint: Any, value: Any, name: str) -> None:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if value is None or not inside:
        return
    if origin is Annotated:
        for bounds in hint.__metadata__:
            if isinstance(bounds, Range) and not bounds.low <= value <= bounds.high:
                raise SlotIDError(f"{name} must lie between {bounds.low:g} and {bounds.high:g}; got {value:g}.")
    elif origin in (typing.Union, types.UnionType):
        for option in inside:
            _check(option, value, name)
    elif origin is tuple:
        for place, item in enumerate(value):
            _check(inside[0] if inside[-1] is Ellipsis else inside[place], item, name)
