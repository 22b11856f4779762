"""Figures with intervals from the result files, and differences of rows that show the same people."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slotid_core.evaluation.estimators import estimate, mean
from slotid_core.evaluation.intervals import bootstrap_of_seeds
from slotid_core.evaluation.metrics import ESTIMATORS
from slotid_core.evaluation.paired import paired_difference
from slotid_core.evaluation.variants import BASE, FULL, GROUND_TRUTH
from slotid_core.toy_world.person import DYNAMICS
from studies.four_systems.plan import MODEL_NAMES, PARTS, ROWS, TRAINING_SEEDS, Row
from studies.four_systems.results import Measured, file_of, read_facts, read_result

Figures = dict[str, float]
LONG = ("similarity", "drift.similarity", "flicker", "detail")
Results = dict[tuple[str, str], list[Measured]]  # (part, row) -> of each training seed that there is


def read_results(folder: Path) -> tuple[Results, dict[str, dict]]:
    """All results, and of each part the facts that its rows share.

    Rows of a part that were made from other people, models or judges than most are left out.
    """
    found: dict[tuple[str, str], list[tuple[dict, Measured]]] = {}
    for part in PARTS:
        for row in ROWS:
            for seed in range(row.seeds):
                path = file_of(folder, part, row.name, seed)
                measured = read_result(path)
                if part in row.parts and measured is not None:
                    found.setdefault((part, row.name), []).append((read_facts(path), measured))
    results: Results = {}
    shared: dict[str, dict] = {}
    for part in PARTS:
        facts = [one for (of, _), each in found.items() if of == part for one, _ in each]
        common = most_common([shared_facts(one) for one in facts])
        if common is None:
            continue
        shared[part] = common | {
            name: one[name] for one in facts for name in ("steps", "batch") if name in one
        }  # fmt: skip
        for (of, row), each in found.items():
            same = [measured for one, measured in each if shared_facts(one) == common]
            if of == part and same:
                results[part, row] = same
    return results, shared


def shared_facts(facts: dict) -> dict:
    return {name: value for name, value in facts.items() if name not in ("training", "reads", "data", "steps", "batch")}


def most_common(facts: Sequence[dict]) -> dict | None:
    return max(facts, key=facts.count) if facts else None


def figures_of(results: Results) -> Figures:
    """`<part>.<row>.<figure>` with `.low`, `.high` and `.seeds`; means over training seeds."""
    figures: Figures = {}
    for (part, row), seeds in results.items():
        for name in seeds[0]:
            key = f"{part}.{row}.{name}"
            values = [measured[name] for measured in seeds]
            if part == "cost":
                figures[key] = float(np.median(np.concatenate([value.ravel() for value in values])))
                continue
            figures |= with_interval(key, values, ESTIMATORS.get(name, mean))
            if name == "dynamics":
                for place, factor in enumerate(DYNAMICS):
                    of_factor = [value[:, :, [place]] for value in values]
                    figures |= with_interval(f"{key}.{factor}", of_factor, ESTIMATORS["dynamics"])
        figures[f"{part}.{row}.seeds"] = len(seeds)
    similarity = {row.name: figures.get(f"toy.{row.name}.similarity") for row in ROWS}
    low, high = similarity[BASE], similarity[GROUND_TRUTH]
    for name, value in similarity.items():
        if value is not None and low is not None and high is not None and high != low:
            figures[f"toy.{name}.gap_closed"] = (value - low) / (high - low)
    return figures


def with_interval(key: str, values: list[np.ndarray], estimator) -> Figures:
    low, high = bootstrap_of_seeds(values, estimator)
    return {
        key: float(np.mean([estimate(value, estimator) for value in values])), f"{key}.low": low, f"{key}.high": high,
    }  # fmt: skip


def undecided(results: Results, figures: Figures) -> tuple[list[str], list[str]]:
    """Of each pair of systems, which has the greater similarity; and what cannot be said.

    Holm's correction counts all pairs, also those that are not measured yet.
    """
    names = list(MODEL_NAMES)
    pairs = [(a, b) for place, a in enumerate(names) for b in names[place + 1 :]]
    tested, open_questions = [], []
    for one, other in pairs:
        title = f"{MODEL_NAMES[one]} and {MODEL_NAMES[other]}"
        ours, theirs = (results.get(("toy", f"{name}.{FULL}"), []) for name in (one, other))
        seeds = min(len(ours), len(theirs))
        if seeds < TRAINING_SEEDS:
            open_questions.append(f"{title}: not measured with {TRAINING_SEEDS} training seeds each.")
            continue
        values = [[each["similarity"] for each in side[:seeds]] for side in (ours, theirs)]
        found = paired_difference(values[0], values[1], mean)
        if found is not None:
            tested.append((found.p, title, one, other, found))
    tested.sort(key=lambda each: each[0])
    decided, still = [], True
    for place, (p, title, one, other, found) in enumerate(tested):
        corrected = min(1.0, p * (len(pairs) - place))
        still = still and corrected < 0.05
        text = f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}], corrected p {corrected:.3f}"
        if still and found.one_direction:
            better, worse = (one, other) if found.value > 0 else (other, one)
            decided.append(f"{MODEL_NAMES[better]} is more like the person than {MODEL_NAMES[worse]}: {text}.")
        else:
            open_questions.append(f"{title}: {text}.")
    return decided, open_questions


def measured_rows(figures: Figures, part: str) -> list[Row]:
    return [row for row in ROWS if f"{part}.{row.name}.seeds" in figures]
