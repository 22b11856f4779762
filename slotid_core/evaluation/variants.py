"""The names of what is compared: rows of no system, and the variants that each system declares.

`<row>` alone for the former, `<system>.<variant>` for the latter.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import SlotIDError
from ..systems.contract import Variant
from ..systems.registry import inference_of

BASE, DESCRIBED, STRANGER, GROUND_TRUTH = "base", "described", "stranger", "ground_truth"
PLAIN_ROWS = (BASE, DESCRIBED, STRANGER, GROUND_TRUTH)
FULL = "full"


@dataclass(frozen=True)
class Row:
    """`system` is "" for a row of no system."""

    name: str
    system: str = ""
    variant: Variant | None = None


def rows_of(systems: Iterable[str]) -> list[Row]:
    """Every row that there is: what needs no adapter around the systems' variants."""
    variants = [
        Row(f"{system}.{name}", system, variant)
        for system in systems
        for name, variant in inference_of(system).variants.items()
    ]
    return [Row(BASE), Row(DESCRIBED), *variants, Row(STRANGER), Row(GROUND_TRUTH)]


def chosen_rows(names: Iterable[str], systems: Iterable[str]) -> list[Row]:
    """The rows of these names, in their order; "full" stands for "<system>.full" of every system.

    Raises:
        SlotIDError: a name that no row has.
    """
    systems = list(systems)
    known = {row.name: row for row in rows_of(systems)}
    chosen: list[Row] = []
    for name in names:
        found = [known[key] for key in (name, *(f"{system}.{name}" for system in systems)) if key in known]
        if not found:
            raise SlotIDError(f"There is no row {name!r}; there are {', '.join(known)}.")
        chosen += found
    return chosen
