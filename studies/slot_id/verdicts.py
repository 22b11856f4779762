"""Verdicts on claims and defaults: which differences are more than chance, given how many of them are looked at."""

from collections.abc import Iterable
from dataclasses import dataclass

from slotid_core.evaluation.paired import holm
from studies.slot_id.claims import CLAIMS, MOVES
from studies.slot_id.compared import Compared
from studies.slot_id.defaults import DEFAULTS, Default
from studies.slot_id.figures import Table
from studies.slot_id.people import DEVELOPMENT, EARLIER, REPORTED
from studies.slot_id.plan import ROWS
from studies.slot_id.runner import slug

LEVEL = 0.05
HELD, NO_EFFECT, REVERSED, SEEDS_DISAGREE, NOT_RUN = (
    "held", "no effect shown", "reversed", "training seeds disagree", "not run",
)  # fmt: skip
WANTED = ("similarity", *MOVES)  # what a default may give way for
DECISIVE = ("similarity", "action", *MOVES)  # in what the other value must not be worse


@dataclass(frozen=True)
class Judged:
    """A difference, if its rows are run, and its p-value after Holm's correction."""

    compared: Compared | None
    corrected: float

    @property
    def verdict(self) -> str:
        if self.compared is None:
            return NOT_RUN
        if not self.corrected < LEVEL:  # NaN as well
            return NO_EFFECT
        if not self.compared.difference.one_direction:
            return SEEDS_DISAGREE
        return HELD if self.compared.difference.value > 0 else REVERSED

    @property
    def worse(self) -> bool:
        """By the interval that is not corrected: harm need not be proved to keep a default."""
        return self.compared is not None and self.compared.difference.high < 0


def judged(compared: dict[tuple, Compared | None]) -> dict[tuple, Judged]:
    """All differences of one family, corrected for their number. Those that are not run belong to the family."""
    corrected = holm([float("nan") if each is None else each.difference.p for each in compared.values()])
    return {key: Judged(each, p) for (key, each), p in zip(compared.items(), corrected, strict=True)}


def joint(verdicts: Iterable[str]) -> str:
    """A claim about several metrics holds if it does for each."""
    given = list(verdicts)
    order = (NOT_RUN, REVERSED, SEEDS_DISAGREE, NO_EFFECT)
    return next((word for word in order if word in given), HELD)


def gives_way(rows: list[dict[str, Judged]]) -> bool:
    """Whether a default gives way to a value whose rows differ from it so, by the names in `DECISIVE`.

    It does if after correction one row is better in one of `WANTED`, and no row is worse in any of `DECISIVE`.
    """
    better = any(row[name].verdict == HELD for row in rows for name in WANTED)
    return better and not any(row[name].worse for row in rows for name in DECISIVE)


def add_claims(table: Table) -> None:
    family = judged({
        (claim, metric): table.compare(ROWS[claim.better], ROWS[claim.worse], metric)
        for claim in CLAIMS
        for metric in claim.metrics
    })  # fmt: skip
    table.figures |= {"protocol.claim_tests": len(family), "protocol.level": LEVEL}
    for claim in CLAIMS:
        key = f"claim.{slug(claim.statement)}"
        results = {metric: family[claim, metric] for metric in claim.metrics}
        table.figures[f"{key}.rows"] = difference_of(claim.better, claim.worse)
        for metric, result in results.items():
            put(table, f"{key}.{metric}", result)
        if not claim.by_factor:
            said = joint(result.verdict for result in results.values())
            table.figures[key] = with_seeds(said, next(iter(results.values())).compared)


def add_defaults(table: Table) -> None:
    """Each default is chosen on the people of development, and the same differences are reported on the others."""
    sets = table.study.sets
    # Figures of an earlier release are of the people on whom its defaults were chosen.
    chosen_on = (DEVELOPMENT, EARLIER) if sets[EARLIER].seed != sets[REPORTED].seed else (DEVELOPMENT,)
    for on, looked_for in ((DEVELOPMENT, chosen_on), (REPORTED, (REPORTED,))):
        family = judged({
            (default.setting, other, row, metric): table.compare(ROWS[other], ROWS[row], metric, looked_for)
            for default in DEFAULTS
            for _, other, row in default.instead
            for metric in DECISIVE
        })  # fmt: skip
        table.figures["protocol.default_tests"] = len(family)
        for default in DEFAULTS:
            run: dict[str, list[dict[str, Judged]]] = {}
            for value, other, row in default.instead:
                results = {metric: family[default.setting, other, row, metric] for metric in DECISIVE}
                for metric, result in results.items():
                    put(table, f"{default_key(default, other)}.{on}.{metric}", result)
                if any(result.compared for result in results.values()):
                    run.setdefault(value, []).append(results)
            table.figures[f"{default_key(default)}.{on}"] = choice(run)


def choice(run: dict[str, list[dict[str, Judged]]]) -> str:
    """The verdict on a default, from the rows that are run, by the other value that they have."""
    better = [value for value, rows in run.items() if gives_way(rows)]
    if better:
        return f"gives way to {' or '.join(better)}"
    return "stays" if run else NOT_RUN


def put(table: Table, key: str, result: Judged) -> None:
    compared = result.compared
    if compared is None:
        table.figures[f"{key}.verdict"] = NOT_RUN
        return
    change = compared.difference
    table.put(key, change.value, (change.low, change.high), change.seeds)
    table.figures |= {
        f"{key}.p": result.corrected, f"{key}.on": compared.on, f"{key}.seeds": compared.seeds,
        f"{key}.planned": compared.planned,
        f"{key}.verdict": with_seeds(result.verdict, compared),
    }  # fmt: skip
    if compared.clips is not None:
        table.figures[f"{key}.clips"] = compared.clips


def with_seeds(verdict: str, compared: Compared | None) -> str:
    """A verdict that rests on fewer training seeds than are planned says so: it is not final."""
    if compared is None or verdict == NOT_RUN or compared.seeds == compared.planned:
        return verdict
    return f"{verdict}, {compared.seeds} of {compared.planned} seeds"


def difference_of(first: str, second: str) -> str:
    return f"{first} − {second}"


def default_key(default: Default, other: str = "") -> str:
    """Of its verdict, or of the differences of the row that has another value."""
    return f"default.{slug(default.setting)}{f'.{slug(other)}' if other else ''}"
