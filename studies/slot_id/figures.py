"""From judged clips to the figures of the study: rows with intervals, paired differences, claims."""

from collections.abc import Iterable

import numpy as np

from slotid_core.evaluation.intervals import bootstrap, bootstrap_difference, mean
from slotid_core.evaluation.metrics import STATISTICS, correlation, dynamics_error
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
from studies.slot_id.row_files import Judged
from studies.slot_id.runner import Study, slug

FIGURES = ("similarity", "rank1", "action", "background", "clothes", "dynamics", "dynamics_error", "marks")
LESS_IS_BETTER = ("dynamics_error",)
WEIGHED = ("similarity", "dynamics", "action")  # what a default is judged by
Intervals = dict[str, tuple[float, float]]  # of differences, by figure
# A difference whose whole interval is below this is no difference that anybody would pay for.
WORTH = 0.02


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
        "protocol.reference": study.base.adapter["reference_frames"], "protocol.worth": WORTH,
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
        judged = self.study.judged(row)
        if judged is None:
            return
        if row.seeds > 1:
            self.figures[f"{part}.{slug(row.name)}.seeds"] = len(self.study.finished(row))
            self.figures[f"{part}.{slug(row.name)}.trained_on"] = self.study.people.toy_world.people
        for figure in FIGURES:
            values, statistic = named(judged, figure)
            if values is not None:
                self.put(f"{part}.{slug(row.name)}.{figure}", statistic(values), bootstrap(values, statistic))
        if against is not None and against != row:
            for figure in FIGURES:
                self.add_difference(f"{part}.{slug(row.name)}.{figure}.difference", row, against, figure)

    def add_factors(self, part: str, row: Row) -> None:
        judged = self.study.judged(row)
        for place, factor in enumerate(DYNAMICS if judged is not None else ()):
            pairs = judged["dynamics"][:, :, place : place + 1]
            self.put(f"{part}.{slug(row.name)}.{factor}", correlation(pairs), bootstrap(pairs, correlation))

    def add_slots(self, row: Row) -> None:
        judged = self.study.judged(row) or {}
        for name in ("entropy", "cosine", "change"):
            if f"slots.{name}" in judged:
                values = judged[f"slots.{name}"]
                self.put(f"slots.{slug(row.name)}.{name}", mean(values), bootstrap(values, mean))

    def add_gap(self) -> None:
        """Share of the similarity between base and ceiling that each main row closes."""
        names = ["base", "ceiling", *(row.name for row in MAIN_ROWS if row.adapter)]
        judged = {row.name: self.study.judged(row) for row in MAIN_ROWS}
        if judged["base"] is None or judged["ceiling"] is None:
            return
        per_person = {n: judged[n]["similarity"].mean(axis=1) for n in names if judged[n] is not None}
        for name in names[2:]:
            if name in per_person:
                stacked = np.stack([per_person[name], per_person["base"], per_person["ceiling"]], axis=1)
                self.put(f"main.{slug(name)}.gap_closed", gap(stacked), bootstrap(stacked, gap))

    def add_difference(self, key: str, first: Row, second: Row, figure: str) -> tuple[float, float] | None:
        """Paired over people; returns the interval."""
        judged = [self.study.judged(row) for row in (first, second)]
        if None in judged:
            return None
        (ours, statistic), (theirs, _) = (named(values, figure) for values in judged)
        if ours is None or theirs is None:
            return None
        interval = bootstrap_difference(ours, theirs, statistic)
        self.put(key, statistic(ours) - statistic(theirs), interval)
        return interval

    def add_claim(self, claim: Claim, better: Row, worse: Row) -> None:
        key = f"claim.{slug(claim.says)}"
        told = joint([verdict(self.add_difference(f"{key}.{name}", better, worse, name)) for name in claim.figures])
        self.figures |= {key: told, f"{key}.rows": f"{better.name} less {worse.name}"}
        if better.adapter in ADAPTERS and told != "not run":
            self.figures[f"{key}.trained_on"] = self.study.people.toy_world.people

    def add_default(self, default: Default, rows: dict[str, Row]) -> None:
        """Whether the default stays: see `gives_way`."""
        told: dict[str, list[Intervals]] = {}
        for value, other, row in default.instead:
            key = default_key(default, other)
            intervals = {name: self.add_difference(f"{key}.{name}", rows[other], rows[row], name) for name in WEIGHED}
            if all(intervals.values()):
                told.setdefault(value, []).append(intervals)
        better = [value for value, measured in told.items() if gives_way(measured)]
        stays = "stays" if told else "not run"
        self.figures[default_key(default)] = f"gives way to {' or '.join(better)}" if better else stays


def default_key(default: Default, other: str = "") -> str:
    """Of its verdict, or of the differences of the row that has another value."""
    return f"default.{slug(default.setting)}{f'.{slug(other)}' if other else ''}"


def gives_way(measured: list[Intervals]) -> bool:
    """Whether a default does, for a value whose rows differ from it by these: if with confidence one is more like the
    person, or moves more like them, and none is less so, or shows the action less often."""
    better = any(told[name][0] > 0 for told in measured for name in ("similarity", "dynamics"))
    return better and not any(told[name][1] < 0 for told in measured for name in WEIGHED)


def named(judged: Judged, figure: str):
    """Values and statistic of a figure; (None, None) where no judge told it."""
    source = "dynamics" if figure == "dynamics_error" else figure
    if source not in judged:
        return None, None
    statistic = dynamics_error if figure == "dynamics_error" else STATISTICS.get(figure, mean)
    return judged[source], statistic


def gap(values: np.ndarray) -> float:
    row, base, ceiling = values.mean(axis=0)
    return float((row - base) / (ceiling - base))


def verdict(interval: tuple[float, float] | None) -> str:
    """held: the whole interval is above 0; not held: all of it is below `WORTH`; undecided: neither, or not run."""
    if interval is None or not np.isfinite(interval).all():
        return "not run"
    low, high = interval
    if low > 0:
        return "held"
    return "not held" if high < WORTH else "undecided"


def joint(verdicts: Iterable[str]) -> str:
    """A claim about several figures holds if it does for each."""
    told = list(verdicts)
    for word in ("not run", "not held", "undecided"):
        if word in told:
            return word
    return "held"


def _all(groups: Iterable[tuple[Row, ...]]) -> list[Row]:
    return [row for rows in groups for row in rows]
