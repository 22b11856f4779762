"""`evaluation study-make` and `study-read`: a blinded study of videos, and the mean opinion scores of its raters."""

from pathlib import Path
from typing import TYPE_CHECKING

from ...files import write_json
from .jobs import jobs_of_folders, jobs_of_list, read_prompts
from .study_kit import make_study, read_study

if TYPE_CHECKING:
    from argparse import Namespace, _SubParsersAction


def add_study(commands: "_SubParsersAction") -> None:
    make = commands.add_parser("study-make", help="a page of anonymous comparisons for raters")
    make.add_argument("--videos", type=Path, action="append", default=[], help="folder of videos; one a row")
    make.add_argument("--references", type=Path, help="folder of a picture, clip or folder for each person")
    make.add_argument("--list", type=Path, help="instead: a .jsonl of video, references, row, prompt")
    make.add_argument("--prompts", type=Path, help="JSON object: name of a video -> its prompt")
    make.add_argument(
        "--folder", type=Path, required=True, help="gets page/ for raters, and key.json, which they must not see"
    )
    make.add_argument("--seed", type=int, default=0, help="of the anonymous names")
    make.set_defaults(run=run_make)
    read = commands.add_parser("study-read", help="mean opinion scores of the files that raters sent back")
    read.add_argument("--key", type=Path, required=True, help="key.json of the study")
    read.add_argument("results", type=Path, nargs="+", help="the files")
    read.add_argument("--json", type=Path, help="write the figures to this file, flat and in full precision")
    read.set_defaults(run=run_read)


def run_make(options: "Namespace") -> None:
    if options.list:
        jobs = jobs_of_list(options.list)
    else:
        jobs = jobs_of_folders(options.videos, options.references or Path(), read_prompts(options.prompts))
    count = make_study(jobs, options.folder, options.seed)
    page = options.folder / "page" / "index.html"
    print(f"{count} questions in {page}; no rater may see key.json beside it.")


def run_read(options: "Namespace") -> None:
    figures = read_study(options.key, options.results)
    for name, value in figures.items():
        if f"{name}.low" in figures:
            print(f"{name:<40} {value:.2f} [{figures[f'{name}.low']:.2f}, {figures[f'{name}.high']:.2f}]")
    if options.json:
        write_json(options.json, figures)
