"""Attack the pack, print a table of what came of it, and fail unless it held.

python -m tests.attack                      # in full: about ten minutes on two cores
python -m tests.attack --share 0.05         # a twentieth of each number
python -m tests.attack --only names --seed 7
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from slotid_core.errors import SlotIDError
from slotid_core.files import write_json

from . import afterwards, containers, interrupts, kills, media, names, weight_files
from .outside import Outside
from .server import WatchedServer
from .table import Row, as_json, as_text

IN_A_CHILD = {"weight_files": weight_files, "media": media, "containers": containers, "kills": kills}
ON_A_SERVER = {"names": names, "interrupts": interrupts}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="this part of each number of attacks")
    parser.add_argument("--seed", type=int, default=0, help="another seed tries other cases; a problem names its own")
    parser.add_argument("--only", nargs="+", choices=[*IN_A_CHILD, *ON_A_SERVER], help="these kinds of attack")
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    parser.add_argument("--folder", type=Path, help="work here, and keep what was made; by default a temporary folder")
    options = parser.parse_args()
    if not Path("/proc/self/status").exists():
        raise SlotIDError("Memory, open files and threads are read from /proc: run this on Linux.")
    with tempfile.TemporaryDirectory(prefix="slotid_attack_") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        chosen = options.only or [*IN_A_CHILD, *ON_A_SERVER]
        rows = attack(folder.resolve(), chosen, options.share, options.seed)
    print(as_text(rows))
    if options.json:
        write_json(options.json, as_json(rows) | {"share": options.share, "seed": options.seed})
    return 0 if all(row.held for row in rows) else 1


def attack(folder: Path, chosen: list[str], share: float, seed: int) -> list[Row]:
    def number(of: int) -> int:
        return max(1, round(of * share))

    outside = Outside(folder)
    rows = [
        timed(lambda: module.attack(number(module.COUNT), seed, folder / name, outside))  # noqa: B023
        for name, module in IN_A_CHILD.items()
        if name in chosen
    ]
    on_a_server = [name for name in ON_A_SERVER if name in chosen]
    if on_a_server:
        good = range(number(afterwards.COUNT))
        with WatchedServer(folder / "fresh", outside) as server:
            fresh = afterwards.results(server, good)
        outside.touched()
        with WatchedServer(folder / "attacked", outside) as server:
            afterwards.results(server, range(afterwards.COUNT, afterwards.COUNT + afterwards.WARM_UP))
            before = server.counts()
            for name in on_a_server:
                module = ON_A_SERVER[name]
                rows.append(timed(lambda: module.attack(number(module.COUNT), seed, server, outside)))  # noqa: B023
            rows.append(timed(lambda: afterwards.check(len(good), server, fresh, before)))
            rows[-1].add("left", "in the server's folders", server.unfinished())
    rows[-1].add("outside", "the pack's own files", outside.pack_changes())
    return rows


def timed(work: Callable[[], Row]) -> Row:
    started = time.monotonic()
    row = work()
    row.seconds = round(time.monotonic() - started, 1)
    print(f"{row.name}: {row.tried} in {row.seconds:.0f} s, {len(row.problems)} problems", file=sys.stderr, flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())
