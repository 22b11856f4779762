"""Prepare a data set: clips and captions in, cached training samples out.

Run it again after an interruption: whole shards are kept.
"""

import argparse
import json
import signal
import sys
from pathlib import Path

from ..errors import SlotIDError
from ..interrupts import STOP_SIGNALS
from ..this_process import print_anything
from .config import read_config
from .quality import counted
from .runner import Stopped, failures, prepare_dataset

INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="python -m slotid_core.dataset",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--config", type=Path, required=True, help="YAML or JSON file; see docs/training_data.md")
    root.add_argument("--output", type=Path, required=True, help="folder for the shards and their manifest")
    root.add_argument(
        "--workers", type=int, help="worker processes, on Ray if more than 1; default 1, with --ray ADDRESS all of its"
    )
    root.add_argument(
        "--ray", nargs="?", const="local", metavar="ADDRESS", help="use Ray, on this machine or at that address"
    )
    root.add_argument("--progress", choices=("bar", "json"), default="bar", help="a bar, or one JSON object a line")
    return root


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    print_anything()
    if options.workers is not None and options.workers < 1:
        raise SlotIDError(f"--workers is {options.workers}; it must be at least 1.")
    report = JSONLines() if options.progress == "json" else Bar()
    stops: list[int] = []
    with_ray = options.ray is not None or (options.workers or 1) > 1

    def stop(number, frame) -> None:
        stops.append(number)
        if with_ray and len(stops) == 1:  # the clip is on another process; there is nothing here to finish
            raise KeyboardInterrupt

    handlers = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        manifest = prepare_dataset(
            read_config(options.config),
            options.output,
            report.progress,
            lambda: bool(stops),
            options.workers,
            options.ray,
        )
    except (Stopped, KeyboardInterrupt):
        report.close()
        print("dataset: stopped; whole shards are kept. Run it again to go on.", file=sys.stderr)
        return INTERRUPTED
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    report.close()
    failed = failures(options.output, manifest)
    for line in failed:
        print(f"failed: {line['clip']}: {line['failed']}", file=sys.stderr)
    left_out = counted(line["failed"] for line in failed)
    if left_out:
        print(left_out, file=sys.stderr)
    report.finished(manifest, options.output)
    return 0 if manifest["samples"] else 1


class Bar:
    def __init__(self):
        self.bar = None

    def progress(self, done: int, total: int) -> None:
        from tqdm import tqdm

        self.bar = self.bar or tqdm(total=total, initial=done, unit="clip", desc="prepare")
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def finished(self, manifest: dict, folder: Path) -> None:
        print(
            f"{manifest['samples']} samples of {manifest['people']} people from {manifest['clips']} clips, "
            f"{manifest['bytes'] / 1e6:.1f} MB in {folder}; {manifest['failed']} failed."
        )


class JSONLines:
    def progress(self, done: int, total: int) -> None:
        print(json.dumps({"event": "progress", "done": done, "total": total}), flush=True)

    def close(self) -> None:
        pass

    def finished(self, manifest: dict, folder: Path) -> None:
        counts = {name: manifest[name] for name in ("clips", "samples", "people", "failed", "bytes")}
        print(json.dumps({"event": "finished", "folder": str(folder), **counts}), flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SlotIDError as error:
        sys.exit(f"dataset: {error}")
