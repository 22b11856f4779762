"""In which order a study is made, and what of it is still to be made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from studies.slot_id.defaults import DEFAULT_ROWS
from studies.slot_id.people import DEVELOPMENT, REPORTED
from studies.slot_id.plan import ADAPTERS, Row
from studies.slot_id.runner import Study


@dataclass(frozen=True)
class Job:
    """A row of one training seed, measured on one set of people, by its name."""

    row: Row
    seed: int
    people: str


def in_order(parts: Sequence[Sequence[Row]]) -> Iterator[Job]:
    """What is made, part by part. In a part, every row gets its first training seed before any gets a second, and is
    measured on the reported people before those of development, whom only rows of defaults need.
    """
    for rows in parts:
        for seed in range(max((row.seeds for row in rows), default=0)):
            for people, needed in ((REPORTED, rows), (DEVELOPMENT, [row for row in rows if row in DEFAULT_ROWS])):
                yield from (Job(row, seed, people) for row in needed if seed < row.seeds)


def to_do(study: Study, jobs: Sequence[Job]) -> list[str]:
    """A line for each training that these rows still need, every training seed by itself, and the sums."""
    rows = [job for job in jobs if job.seed not in study.finished(job.row, study.sets[job.people])]
    needed = dict.fromkeys((job.row.adapter, job.seed) for job in rows if job.row.trained)
    settings = {(name, seed): study.training(ADAPTERS[name], seed) for name, seed in needed if name is not None}
    untrained = {
        key: each for key, each in settings.items() if not study.adapter_path(ADAPTERS[key[0]], key[1]).is_file()
    }
    lines = [f"train {name}, run.seed={seed}: {each.run.steps} steps" for (name, seed), each in untrained.items()]
    steps = sum(each.run.steps for each in untrained.values())
    clips = sum(study.sets[job.people].count * study.sets[job.people].prompts for job in rows)
    return [*lines, f"{len(untrained)} adapters, {steps} steps; {len(rows)} rows to measure, {clips} clips"]
