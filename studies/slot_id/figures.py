"""From metrics to the figures of the study: rows with intervals, paired differences, verdicts on claims."""

from collections.abc import Iterable

import numpy as np

from slotid_core.evaluation.intervals import bootstrap, bootstrap_difference, mean
from slotid_core.evaluation.metrics import STATISTICS, correlation, dynamics_error
from slotid_core.evaluation.variants import BASE, GROUND_TRUTH
from slotid_core.toy_world.person import DYNAMICS
from studies.slot_id.plan import (
    ABLATION_GROUPS,
    ABLATION_ROWS,
    ADAPTERS,
    AS_SHIPPED,
    CLAIMS,
    DEFAULTS,
    MAIN_ROWS,
    MOVING,
    TRIALS,
    Claim,
    Default,
    Row,
)
from studies.slot_id.row_files import Measured
from studies.slot_id.runner import Study, slug

METRICS = ("similarity", "rank1", "action", "background", "clothes", "dynamics", "dynamics_error", "marks")
LOWER_IS_BETTER = ("dynamics_error",)
DECISIVE = ("similarity", "dynamics", "action")  # what a default is measured by
Intervals = dict[str, tuple[float, float]]  # of differences, by figure
# The smallest effect of interest: a claim whose whole interval lies below it is not held.
SMALLEST_EFFECT = 0.02


def collect(study: Study) -> dict:
    """Flat figures of everything that is finished; what is not has no keys."""
    table = Table(study)
    for row in MAIN_ROWS:
        table.add("main", row)
        table.add_factors("main", row)
    for first, *others in ABLATION_GROUPS:
        for row in (first, *others):
            table.add("ablation", row, against=first)
    table.add("trial", AS_SHIPPED)
    for rows in TRIALS.values():
        for row in rows:
            table.add("trial", row, against=AS_SHIPPED)
    for row in MOVING:
        table.add_factors("trial", row)
    table.add_gap()
    rows = {row.name: row for row in (*MAIN_ROWS, *ABLATION_ROWS, AS_SHIPPED, *_all(TRIALS.values()))}
    for claim in CLAIMS:
        table.add_claim(claim, rows[claim.better], rows[claim.worse])
    for default in DEFAULTS:
        table.add_default(default, rows)
    for row in (*MAIN_ROWS, *ABLATION_ROWS):
        table.add_slots(row)
    run, settings = study.base.run, study.settings
    table.figures |= {
        "protocol.people": settings.people, "protocol.prompts": settings.prompts, "protocol.seed": settings.seed,
        "protocol.steps": run.steps, "protocol.third": study.third, "protocol.batch": run.batch,
        "protocol.reference": study.base.adapter["reference_frames"], "protocol.smallest_effect": SMALLEST_EFFECT,
        "protocol.trained_on": study.people.toy_world.people, "protocol.models": study.models + study.judges,
    }  # fmt: skip
    return table.figures


class Table:
    """Figures by flat keys, each with `.low` and `.high` of its 95% interval."""

    def __init__(self, study: Study):
        self.study = study
        self.figures: dict[str, float | str] = {}

    def put(self, key: str, value: float, interval: tuple[float, float]) -> None:
        if np.isfinite(value):
            self.figures |= {key: value, f"{key}.low": interval[0], f"{key}.high": interval[1]}

    def add(self, part: str, row: Row, against: Row | None = None) -> None:
        measured = self.study.measured(row)
        if measured is None:
            return
        if row.seeds > 1:
            self.figures[f"{part}.{slug(row.name)}.seeds"] = len(self.study.finished(row))
            self.figures[f"{part}.{slug(row.name)}.trained_on"] = self.study.people.toy_world.people
        for metric in METRICS:
            values, statistic = named(measured, metric)
            if values is not None:
                self.put(f"{part}.{slug(row.name)}.{metric}", statistic(values), bootstrap(values, statistic))
        if against is not None and against != row:
            for metric in METRICS:
                self.add_difference(f"{part}.{slug(row.name)}.{metric}.difference", row, against, metric)

    def add_factors(self, part: str, row: Row) -> None:
        measured = self.study.measured(row)
        for place, factor in enumerate(DYNAMICS if measured is not None else ()):
            pairs = measured["dynamics"][:, :, place : place + 1]
            self.put(f"{part}.{slug(row.name)}.{factor}", correlation(pairs), bootstrap(pairs, correlation))

    def add_slots(self, row: Row) -> None:
        measured = self.study.measured(row) or {}
        for name in ("entropy", "cosine", "change"):
            if f"slots.{name}" in measured:
                values = measured[f"slots.{name}"]
                self.put(f"slots.{slug(row.name)}.{name}", mean(values), bootstrap(values, mean))

    def add_gap(self) -> None:
        """Share of the similarity between the base and the ground truth that each main row closes."""
        names = [BASE, GROUND_TRUTH, *(row.name for row in MAIN_ROWS if row.adapter)]
        measured = {row.name: self.study.measured(row) for row in MAIN_ROWS}
        if measured[BASE] is None or measured[GROUND_TRUTH] is None:
            return
        per_person = {n: measured[n]["similarity"].mean(axis=1) for n in names if measured[n] is not None}
        for name in names[2:]:
            if name in per_person:
                stacked = np.stack([per_person[name], per_person[BASE], per_person[GROUND_TRUTH]], axis=1)
                self.put(f"main.{slug(name)}.gap_closed", gap(stacked), bootstrap(stacked, gap))

    def add_difference(self, key: str, first: Row, second: Row, metric: str) -> tuple[float, float] | None:
        """Paired over people; returns the interval."""
        measured = [self.study.measured(row) for row in (first, second)]
        if None in measured:
            return None
        (ours, statistic), (theirs, _) = (named(values, metric) for values in measured)
        if ours is None or theirs is None:
            return None
        interval = bootstrap_difference(ours, theirs, statistic)
        self.put(key, statistic(ours) - statistic(theirs), interval)
        return interval

    def add_claim(self, claim: Claim, better: Row, worse: Row) -> None:
        key = f"claim.{slug(claim.statement)}"
        intervals = [self.add_difference(f"{key}.{name}", better, worse, name) for name in claim.metrics]
        said = joint(verdict(interval) for interval in intervals)
        self.figures |= {key: said, f"{key}.rows": difference_of(better.name, worse.name)}
        if better.adapter in ADAPTERS and said != "not run":
            self.figures[f"{key}.trained_on"] = self.study.people.toy_world.people

    def add_default(self, default: Default, rows: dict[str, Row]) -> None:
        """Whether the default stays: see `gives_way`."""
        measured: dict[str, list[Intervals]] = {}
        for value, other, row in default.instead:
            key = default_key(default, other)
            intervals = {name: self.add_difference(f"{key}.{name}", rows[other], rows[row], name) for name in DECISIVE}
            if all(intervals.values()):
                measured.setdefault(value, []).append(intervals)
        better = [value for value, rows_of_it in measured.items() if gives_way(rows_of_it)]
        stays = "stays" if measured else "not run"
        self.figures[default_key(default)] = f"gives way to {' or '.join(better)}" if better else stays


def difference_of(first: str, second: str) -> str:
    return f"{first} − {second}"


def default_key(default: Default, other: str = "") -> str:
    """Of its verdict, or of the differences of the row that has another value."""
    return f"default.{slug(default.setting)}{f'.{slug(other)}' if other else ''}"


def gives_way(measured: list[Intervals]) -> bool:
    """Whether a default gives way to a value whose rows differ from it by these intervals.

    It does if with confidence one row is better in similarity or dynamics, and no row is worse in these or in action.
    """
    better = any(intervals[name][0] > 0 for intervals in measured for name in ("similarity", "dynamics"))
    return better and not any(intervals[name][1] < 0 for intervals in measured for name in DECISIVE)


def named(measured: Measured, metric: str):
    """Values and statistic of a metric; (None, None) where it was not measured."""
    source = "dynamics" if metric == "dynamics_error" else metric
    if source not in measured:
        return None, None
    statistic = dynamics_error if metric == "dynamics_error" else STATISTICS.get(metric, mean)
    return measured[source], statistic


def gap(values: np.ndarray) -> float:
    row, base, ground_truth = values.mean(axis=0)
    return float((row - base) / (ground_truth - base))


def verdict(interval: tuple[float, float] | None) -> str:
    """held: the whole interval is above 0; not held: all of it is below `SMALLEST_EFFECT`; undecided: neither."""
    if interval is None or not np.isfinite(interval).all():
        return "not run"
    low, high = interval
    if low > 0:
        return "held"
    return "not held" if high < SMALLEST_EFFECT else "undecided"


def joint(verdicts: Iterable[str]) -> str:
    """A claim about several metrics holds if it does for each."""
    given = list(verdicts)
    for word in ("not run", "not held", "undecided"):
        if word in given:
            return word
    return "held"


def _all(groups: Iterable[tuple[Row, ...]]) -> list[Row]:
    return [row for rows in groups for row in rows]
