"""Rows of the same people and the same training seeds, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

from slotid_core.evaluation.paired import Difference
from studies.slot_id.plan import Row
from studies.slot_id.row_files import Measured


@dataclass(frozen=True)
class Measurements:
    """Of each row, the metrics for each of the training seeds `seeds`, of `planned`; `on` names the people."""

    on: str
    seeds: list[int]
    planned: int
    parts: list[list[Measured]]


@dataclass(frozen=True)
class Compared:
    """A difference of two rows: on which people, over how many of the planned training seeds, and for a movement factor
    over how many clips of each.
    """

    difference: Difference
    on: str
    seeds: int
    planned: int
    clips: int | None = None


def of_same_seeds(rows: Sequence[Row], finished: Sequence[dict[int, Measured]], on: str) -> Measurements | None:
    """None if a row is not finished, or no training seed is finished in all. What the study does not train is the same
    beside every training seed.
    """
    if not all(finished):
        return None
    trained = [(row, parts) for row, parts in zip(rows, finished, strict=True) if row.trained]
    seeds = sorted(set.intersection(*(set(parts) for _, parts in trained))) if trained else [0]
    if not seeds:
        return None
    parts = [[part[seed if row.trained else 0] for seed in seeds] for row, part in zip(rows, finished, strict=True)]
    return Measurements(on, seeds, min((row.seeds for row, _ in trained), default=1), parts)
