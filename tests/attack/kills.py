"""Writers of every kind, killed at random moments, by what `tests/core/test_killed_writers.py` does.

python -m tests.attack.kills FOLDER COUNT SEED   # in a process of its own, as it forks: prints a row as JSON
"""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from . import ROOT
from .outside import Outside
from .table import Row

COUNT = 100
RUNS_SHARE = 0.08  # of the kills go to preparations, and as many to trainings, which take seconds each
KILLS_PER_RUN = 2  # on average
SECONDS_PER_KILL = 120.0


def attack(count: int, seed: int, folder: Path, outside: Outside) -> Row:
    folder.mkdir()
    command = [sys.executable, "-m", "tests.attack.kills", str(folder), str(count), str(seed)]
    outside.touched()
    with (folder / "child.log").open("w") as log:
        try:
            limit = 300 + SECONDS_PER_KILL * count
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, timeout=limit)
            lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        except subprocess.TimeoutExpired:
            lines = []
    row = Row(**json.loads(lines[-1])) if lines else Row("killed writers")
    if not lines:
        row.count("crashed", f"seed {seed}", f"no answer; see {folder / 'child.log'}")
    row.add("outside", f"seed {seed}", outside.touched())
    return row


def kill_all(count: int, seed: int, folder: Path) -> Row:
    """Kills of every kind of writer in turn; "accepted" are those that did no harm."""
    from ..core.killed_writers import WRITERS, kill_a_writer, kill_preparations, kill_trainings

    row = Row("killed writers")
    runs = max(1, round(RUNS_SHARE * count / KILLS_PER_RUN))
    for kind, kill in (("preparation", kill_preparations), ("training", kill_trainings)):
        (folder / kind).mkdir()
        held(row, kind, runs, seed, lambda: kill(folder / kind, runs, seed), counts=True)  # noqa: B023
    each = max(1, math.ceil((count - row.tried) / len(WRITERS)))
    for kind in WRITERS:
        place = folder / kind.replace(" ", "_")
        place.mkdir()
        held(row, kind, each, seed, lambda: kill_a_writer(kind, place, each, seed))  # noqa: B023
    return row


def held(row: Row, kind: str, kills: int, seed: int, work: Callable[[], int], counts: bool = False) -> None:
    """
    Args:
        counts: `work` gives the number of its kills, in place of `kills`.
    """
    try:
        number = work()
        kills = number if counts else kills
    except Exception as error:  # a file that is there and cannot be read ends in its reader's own error
        row.count("crashed", f"{kind}, {kills} kills of seed {seed}", f"{type(error).__name__}: {error}"[:300])
        return
    row.tried += kills
    row.accepted += kills


if __name__ == "__main__":
    torn = Path(sys.argv[1])
    print(json.dumps(asdict(kill_all(int(sys.argv[2]), int(sys.argv[3]), torn))))
