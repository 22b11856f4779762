"""Inputs that several nodes have, and how what is written in them is read."""

from typing import TypeVar

from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from .patching import CONDITIONINGS

Value = TypeVar("Value")


def strength_input(name: str, tooltip: str, optional: bool = False) -> io.Float.Input:
    """A factor of 0 to 2, where 1 is as trained."""
    return io.Float.Input(name, optional=optional, default=1.0, min=0.0, max=2.0, step=0.05, tooltip=tooltip)


def fraction_input(name: str, default: float, tooltip: str) -> io.Float.Input:
    """A number of 0 to 1."""
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.01, tooltip=tooltip)


def range_inputs(actor: str, end_advice: str) -> list[io.Input]:
    """The part of sampling in which a system acts.

    Args:
        actor: what begins and ends, such as "the identity".
        end_advice: when to lower the end.
    """
    return [
        fraction_input(
            "start_percent",
            0.0,
            f"Part of sampling at which {actor} begins, 0 to 1. Raise it to let the prompt lay out the scene first.",
        ),
        fraction_input("end_percent", 1.0, f"Part of sampling at which {actor} ends, 0 to 1. {end_advice}"),
    ]


def blocks_input(acts: str, depths: str) -> io.String.Input:
    """The transformer blocks in which a system acts, for `parse_blocks`.

    Args:
        acts: what is said of these blocks, such as "see the identity".
        depths: how many blocks there are.
    """
    return io.String.Input(
        "blocks",
        default="all",
        tooltip=f"Transformer blocks that {acts}: 'all', or indices such as '0-9, 20'. {depths} For experiments.",
    )


def conditionings_input(others: str = "", dual_guider: str = "") -> io.Combo.Input:
    """The conditionings that get the person, a key of `CONDITIONINGS`.

    Args:
        others: what the other conditionings get.
        dual_guider: more about DualCFGGuider.
    """
    return io.Combo.Input(
        "conditionings",
        options=list(CONDITIONINGS),
        default="positive",
        tooltip=f"Which conditionings get the person{others}. 'positive and middle' is for DualCFGGuider "
        f"only{dual_guider}.",
    )


def parse_blocks(text: str, depth: int) -> list[int]:
    """ "all", or indices and ranges such as "0-9, 20" -> sorted indices below `depth`."""
    if text.strip().lower() in ("all", ""):
        return list(range(depth))
    chosen: set[int] = set()
    for part in text.split(","):
        ends = part.strip().split("-")
        if not all(end.strip().isdecimal() for end in ends) or len(ends) > 2:
            raise SlotIDError(f"{part.strip()!r} is no block or range. Write 'all', or such as '0-9, 20'.")
        chosen.update(range(int(ends[0]), int(ends[-1]) + 1))
    if not chosen or max(chosen) >= depth:
        raise SlotIDError(f"Blocks {text!r} do not lie in this model's 0 to {depth - 1}.")
    return sorted(chosen)


def second_share_input() -> io.Float.Input:
    """The weight of a node that makes somebody between two people."""
    return fraction_input(
        "weight", 0.5, "Share of the second person, 0 to 1. 0 is exactly the first, 1 exactly the second."
    )


def connected(*values: Value | None) -> list[Value]:
    """What came in by sockets of which some are optional."""
    return [value for value in values if value is not None]
