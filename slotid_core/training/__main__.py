"""Train an adapter on prepared samples.

    python -m slotid_core.training --config FILE --output FOLDER [--resume]
    torchrun --nproc-per-node 8 -m slotid_core.training --config FILE --output FOLDER

SIGINT and SIGTERM finish the step, save, and stop; --resume goes on, on any number of processes.
"""

import argparse
import os
import sys
from pathlib import Path

from ..errors import SlotIDError
from ..files import write_json
from ..this_process import print_anything


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    print_anything()
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    from .config import read_config

    config = read_config(options.config, options.set)
    if options.dry_run:
        return dry_run(config, options)
    from .loop import train

    path = train(config, options.output, options.resume, options.progress == "json", options.changed, options.track)
    if path is None:
        print("stopped and saved; add --resume to go on.", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    from .cost import GPUS, UTILIZATION
    from .trackers import TRACKERS

    root = argparse.ArgumentParser(
        prog="python -m slotid_core.training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root.add_argument("--config", type=Path, required=True, help="settings in YAML or JSON; see slotid_core/training")
    root.add_argument("--output", type=Path, default=Path("output/training"), help="checkpoints, curves, the adapter")
    root.add_argument("--resume", action="store_true", help="go on from the latest good checkpoint in --output")
    root.add_argument(
        "--changed", action="append", default=[], metavar="NAME",
        help="with --resume: this setting is meant to be another one than the run was begun with",
    )  # fmt: skip
    root.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting: run.steps=100"
    )
    root.add_argument("--dry-run", action="store_true", help="say what it would take, and train nothing")
    root.add_argument("--gpus", type=int, default=0, help="with --dry-run: how many; default those of this launch")
    root.add_argument("--gpu", default="", help=f"with --dry-run: one of {', '.join(GPUS)}, to tell seconds and days")
    root.add_argument(
        "--utilization", type=float, default=UTILIZATION,
        help="with --gpu: share of its operations that training reaches; default %(default)s",
    )  # fmt: skip
    root.add_argument("--json", type=Path, help="with --dry-run: also write the figures to this file")
    root.add_argument("--progress", choices=("bar", "json"), default="bar", help="json: one object a line, to be read")
    root.add_argument(
        "--track", action="append", default=[], metavar="NAME", help=f"tell this tracker too: {', '.join(TRACKERS)}"
    )
    root.add_argument("--threads", type=int, default=0, help="CPU threads; bit-exact resuming needs the same number")
    return root


def dry_run(config, options) -> int:
    from .dry_run import cost_of_options, estimate, time_steps

    gpus = options.gpus or int(os.environ.get("WORLD_SIZE", 1))
    figures = estimate(config, gpus, options.gpu, options.utilization)
    can_run = Path(config.model.path).is_file() or config.model.path == "toy_world"
    if can_run and "samples" in figures:
        figures |= time_steps(config, options.output)
    for name, value in figures.items():
        print(f"{name:<32} {value:,.2f}" if isinstance(value, float) else f"{name:<32} {value:,}")
    if options.gpu:
        print("\nwith one setting changed: GiB a GPU, seconds a step")
        for name, cost in cost_of_options(config, gpus, options.gpu, options.utilization).items():
            print(f"{name:<40} {cost['memory_gib_a_gpu']:8.1f} {cost['seconds_by_arithmetic']:10.2f}")
    if "seconds_a_step" not in figures:
        print("No steps were timed: the model file or the data is not on this machine.")
    if options.json:
        write_json(options.json, figures)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SlotIDError as error:
        sys.exit(f"training: {error}")
