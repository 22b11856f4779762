"""From metrics to the figures of the study: rows with intervals, and paired differences."""

from collections.abc import Sequence

import numpy as np

from slotid_core.evaluation.estimators import Estimator, constant_guess, dynamics_error, estimate, mean, ratio
from slotid_core.evaluation.intervals import Interval, bootstrap_of_seeds
from slotid_core.evaluation.metrics import ESTIMATORS
from slotid_core.evaluation.paired import paired_difference
from slotid_core.evaluation.variants import BASE, GROUND_TRUTH
from slotid_core.toy_world.person import DYNAMICS
from studies.slot_id.claims import MOVES
from studies.slot_id.compared import Compared, Measurements, of_same_seeds
from studies.slot_id.people import DEVELOPMENT, EARLIER, REPORTED
from studies.slot_id.plan import (
    ABLATION_GROUPS,
    ABLATION_ROWS,
    AS_SHIPPED,
    MAIN_ROWS,
    ROWS,
    TRAINING_SEEDS,
    TRIALS,
    Row,
)
from studies.slot_id.row_files import Measured
from studies.slot_id.runner import Study, slug

METRICS = ("similarity", "rank1", "action", "background", "clothes", "dynamics", "dynamics_error", "marks")
LOWER_IS_BETTER = ("dynamics_error",)
CONSTANT_GUESS = "constant guess"
SHOWN_OF_SLOTS = ("entropy", "cosine", "change")
OF_REPORTED = (REPORTED, EARLIER)  # where a figure is looked for, the first set that has all its rows


class Table:
    """Figures by flat keys, each with `.low` and `.high` of its 95% interval. What is not finished has no keys.

    Beside the figures of a row or a difference, `.on` says of which people they are, `.seeds` of how many training
    seeds, and `.seed_0` and so on what each of these gives.
    """

    def __init__(self, study: Study):
        self.study = study
        self.figures: dict[str, float | str] = {}

    def add_rows(self) -> None:
        for row in MAIN_ROWS:
            self.add("main", row)
        for first, *others in ABLATION_GROUPS:
            for row in (first, *others):
                self.add("ablation", row, against=first)
        self.add("trial", AS_SHIPPED)
        for rows in TRIALS.values():
            for row in rows:
                self.add("trial", row, against=AS_SHIPPED)
        for row in MAIN_ROWS:
            if row.adapter:
                self.add_gap(row)
        for row in (*MAIN_ROWS, *ABLATION_ROWS):
            self.add_slots(row)
        self.add_constant_guess()
        self.add_clips()

    def add_protocol(self) -> None:
        study = self.study
        run, sets = study.base.run, study.sets
        self.figures |= {
            "protocol.people": study.settings.people, "protocol.steps": run.steps, "protocol.third": study.third,
            "protocol.batch": run.batch, "protocol.reference": study.base.adapter["reference_frames"],
            "protocol.trained_on": study.people.toy_world.people, "protocol.models": study.models + study.judges,
            "protocol.seeds": TRAINING_SEEDS,
            **{f"protocol.{name}_seed": sets[name].seed for name in sets},
            **{f"protocol.{name}_prompts": sets[name].prompts for name in sets},
        }  # fmt: skip

    def put(self, key: str, value: float, interval: Interval, seeds: Sequence[float] = ()) -> None:
        if np.isfinite(value):
            self.figures |= {key: value, f"{key}.low": interval[0], f"{key}.high": interval[1]}
            if len(seeds) > 1:
                self.figures |= {f"{key}.seed_{number}": each for number, each in enumerate(seeds)}

    def put_mean(self, key: str, parts: Sequence[np.ndarray], estimator: Estimator) -> None:
        """The mean over training seeds."""
        values = [estimate(part, estimator) for part in parts]
        self.put(key, float(np.mean(values)), bootstrap_of_seeds(parts, estimator), values)

    def measured(self, rows: Sequence[Row], sets: Sequence[str] = OF_REPORTED) -> Measurements | None:
        """Of the first set of people on which every row has a training seed that the others have as well."""
        for name in sets:
            found = of_same_seeds(rows, [self.study.finished(row, self.study.sets[name]) for row in rows], name)
            if found is not None:
                return found
        return None

    def add(self, part: str, row: Row, against: Row | None = None) -> None:
        found, key = self.measured([row]), f"{part}.{slug(row.name)}"
        if found is None:
            return
        self.figures[f"{key}.on"] = found.on
        if row.trained:
            self.figures[f"{key}.seeds"] = len(found.seeds)
        for metric in (*METRICS, *MOVES):
            parts, estimator = named(found.parts[0], metric)
            if parts:
                self.put_mean(f"{key}.{metric}", parts, estimator)
        if against is not None and against != row:
            for metric in (*METRICS, *MOVES):
                compared = self.compare(row, against, metric)
                if compared is not None:
                    change = compared.difference
                    self.put(f"{key}.{metric}.difference", change.value, (change.low, change.high), change.seeds)

    def compare(self, first: Row, second: Row, metric: str, sets: Sequence[str] = OF_REPORTED) -> Compared | None:
        """Metric of `first` minus that of `second`, paired over people and training seeds."""
        found = self.measured([first, second], sets)
        if found is None:
            return None
        (ours, estimator), (theirs, _) = (named(parts, metric) for parts in found.parts)
        difference = paired_difference(ours, theirs, estimator) if ours and theirs else None
        if difference is None:
            return None
        clips = np.isfinite(ours[0]).any(axis=(2, 3)).sum() if metric in MOVES else None
        return Compared(difference, found.on, len(found.seeds), found.planned, None if clips is None else int(clips))

    def add_slots(self, row: Row) -> None:
        found = self.measured([row])
        for name in SHOWN_OF_SLOTS if found is not None else ():
            if all(f"slots.{name}" in part for part in found.parts[0]):
                self.put_mean(
                    f"slots.{slug(row.name)}.{name}", [part[f"slots.{name}"] for part in found.parts[0]], mean
                )

    def add_gap(self, row: Row) -> None:
        """Share of the similarity between the base and the ground truth that a row closes."""
        found = self.measured([row, ROWS[BASE], ROWS[GROUND_TRUTH]])
        if found is not None:
            means = [[part["similarity"].mean(axis=1) for part in parts] for parts in zip(*found.parts, strict=True)]
            self.put_mean(f"main.{slug(row.name)}.gap_closed", [np.stack(of_seed, axis=1) for of_seed in means], gap)

    def add_constant_guess(self) -> None:
        """The dynamics error of somebody who watches no clip and always says the middle of the range."""
        found = self.measured([ROWS[GROUND_TRUTH]]) or self.measured([ROWS[BASE]])
        if found is not None:
            key = f"main.{slug(CONSTANT_GUESS)}"
            self.figures[f"{key}.on"] = found.on
            guesses = constant_guess(found.parts[0][0]["dynamics"])
            self.put_mean(f"{key}.dynamics_error", [guesses], dynamics_error)

    def add_clips(self) -> None:
        """How many clips of each set of people show each movement factor."""
        for name in (REPORTED, DEVELOPMENT, EARLIER):
            found = next((found for row in ROWS.values() if (found := self.measured([row], [name]))), None)
            if found is not None:
                shown = np.isfinite(found.parts[0][0]["dynamics"]).all(axis=3).sum(axis=(0, 1))
                self.figures |= {f"clips.{name}.{f}": int(n) for f, n in zip(DYNAMICS, shown, strict=True)}


def named(parts: Sequence[Measured], metric: str) -> tuple[list[np.ndarray], Estimator]:
    """Values of a metric for each training seed, none if it was not measured, and what is estimated from them."""
    source, _, factor = metric.partition(".")
    if metric == "dynamics_error":
        return [part["dynamics"] for part in parts if "dynamics" in part], dynamics_error
    values = [part[source] for part in parts if source in part]
    if factor:
        values = [each[:, :, [DYNAMICS.index(factor)]] for each in values]
    return values, ESTIMATORS.get(source, mean)


def gap(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Similarity (people, 3) of a row, the base and the ground truth; see `estimators`."""
    row, base, ground_truth = (counts @ values).T
    return ratio(row - base, ground_truth - base)
