"""Compare adapters on held-out people.

    python -m slotid_core.evaluation train-rows --config slotid_core/training/configs/toy_world.yaml --output rows
    python -m slotid_core.evaluation toy [--adapters rows] [--identities N] [--rows a,b,c] [--seed N] [--json FILE]
    python -m slotid_core.evaluation study [--parts main,ablations,trials] [--output DIR] [--page DIR]

Every figure is a toy-world figure: drawn people, tiny models, judged by networks trained on drawings.
"""

import argparse
import sys
from pathlib import Path

from ..errors import SlotIDError
from ..files import write_json
from .study.command import add_parser


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    options.run(options)
    return 0


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="python -m slotid_core.evaluation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--threads", type=int, default=0, help="CPU threads")
    commands = root.add_subparsers(required=True, metavar="command")
    toy = commands.add_parser("toy", help="rows of adapters on people of the toy world")
    toy.add_argument("--identities", type=int, default=64, help="how many held-out people, default 64")
    toy.add_argument("--prompts", type=int, default=2, help="scenes of each, default 2")
    toy.add_argument("--rows", default="", help="such as base,full,ceiling; default: all that have an adapter")
    toy.add_argument("--adapters", type=Path, help="folder with one training output a row: full/, anchor/, ...")
    toy.add_argument("--seed", type=int, default=0, help="which held-out people; other seeds, other people")
    for name, kind in (("text-scale", float), ("identity-scale", float), ("steps", int)):
        toy.add_argument(f"--{name}", type=kind, help="default: as in evaluation.usage.Usage")
    toy.add_argument("--json", type=Path, help="write the figures to this file, flat and in full precision")
    toy.add_argument("--sheet", type=Path, help="write a contact sheet of the rows to this PNG or JPG")
    toy.set_defaults(run=run_toy)

    rows = commands.add_parser("train-rows", help="train the adapters that the rows of `toy` need")
    rows.add_argument("--config", type=Path, required=True, help="settings of the row `full`")
    rows.add_argument(
        "--output", type=Path, required=True, help="gets a folder for each row; give it to toy --adapters"
    )
    rows.add_argument("--rows", default="full,slots,anchor,mean_latent")
    rows.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="for all rows: run.steps=2000")
    rows.set_defaults(run=run_train_rows)
    add_parser(commands)
    return root


def run_train_rows(options) -> None:
    from .train_rows import train_rows

    rows = [row for row in options.rows.split(",") if row]
    if not train_rows(options.config, options.output, rows, options.set):
        raise SlotIDError("stopped and saved; run it again to go on.")


def run_toy(options) -> None:
    from tqdm import tqdm

    from .rows import ADAPTER_OF, Studio
    from .sheet import save_rows
    from .toy import Judgement, gap_closed, subjects_of, summarize
    from .usage import Usage

    rows = [row for row in options.rows.split(",") if row]
    unknown = [row for row in rows if row not in ADAPTER_OF]
    if unknown:
        raise SlotIDError(f"There is no row {unknown[0]!r}; there are {', '.join(ADAPTER_OF)}.")
    chosen = {name: getattr(options, name) for name in ("steps", "text_scale", "identity_scale")}
    studio = Studio(options.adapters, Usage(**{name: value for name, value in chosen.items() if value is not None}))
    rows = rows or [row for row in ADAPTER_OF if studio.has(row)]
    subjects = subjects_of(options.seed, options.identities, options.prompts)
    judgement = Judgement(studio, subjects, options.seed)
    figures: dict[str, float] = {}
    shown = {}
    for row in rows:
        with tqdm(total=len(subjects) * options.prompts, desc=row) as bar:
            clips = studio.clips(row, subjects, options.seed, bar.update)
        figures |= summarize(row, judgement.judge(clips))
        shown[row] = clips[:8, 0]
        print_row(row, figures)
    if {"base", "full", "ceiling"} <= set(rows):
        figures["full.gap_closed"] = gap_closed(figures)
        print(f"toy world  full closes {figures['full.gap_closed']:.0%} of the similarity between base and ceiling")
    if options.sheet:
        save_rows(shown, subjects, options.sheet)
        print(options.sheet)
    if options.json:
        write_json(options.json, figures)


def print_row(row: str, figures: dict[str, float]) -> None:
    names = [key.split(".")[1] for key in figures if key.startswith(f"{row}.") and key.count(".") == 1]
    told = []
    for name in names:
        value, low, high = (figures[f"{row}.{name}{end}"] for end in ("", ".low", ".high"))
        told.append(f"{name} {value:.3f} [{low:.3f}, {high:.3f}]")
    print(f"toy world  {row:<12} " + "  ".join(told))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SlotIDError as error:
        sys.exit(f"evaluation: {error}")
