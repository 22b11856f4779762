"""The JSON header of a weight file: read within limits, as anybody may have written it."""

import json
import math
from typing import Any

LONGEST = 2**22  # characters; a checkpoint's, the longest, has some thousands
DEEPEST = 32
LARGEST = 2**63


def read_json(text: str) -> dict[str, Any]:
    """An object of JSON whose numbers are finite.

    Raises:
        ValueError: it is none, or is too long or too deep, or a number is too large.
    """
    if len(text) > LONGEST:
        raise ValueError(f"it is {len(text)} characters long, more than {LONGEST}")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels") from None
    if not isinstance(value, dict):
        raise ValueError(f"it is a {type(value).__name__} and no object")
    _check(value)
    return value


def write_json(value: dict[str, Any]) -> str:
    """The text that `read_json` reads back; a figure that came out as NaN or infinity is null in it.

    Raises:
        ValueError: `read_json` would refuse it.
    """
    _check(value, finite=False)
    text = json.dumps(_with_null(value), sort_keys=True)
    if len(text) > LONGEST:
        raise ValueError(f"it is {len(text)} characters long, more than {LONGEST}")
    return text


def _check(value: dict[str, Any], finite: bool = True) -> None:
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        for item in level:
            if finite and isinstance(item, float) and not math.isfinite(item):
                raise ValueError(f"a number in it is {item}")
            if isinstance(item, int) and abs(item) > LARGEST:
                raise ValueError("a number in it has more than 63 bits")
        level = [inner for item in level for inner in _inside(item)]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {DEEPEST} levels")


def _with_null(item: Any) -> Any:
    if isinstance(item, dict):
        return {name: _with_null(inner) for name, inner in item.items()}
    if isinstance(item, list | tuple):
        return [_with_null(inner) for inner in item]
    return None if isinstance(item, float) and not math.isfinite(item) else item


def _inside(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return list(item.values())
    return list(item) if isinstance(item, list | tuple) else []
