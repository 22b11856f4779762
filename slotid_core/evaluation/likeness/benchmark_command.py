"""`evaluation benchmark`: a design's videos made by ComfyUI servers, and scored."""

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from ...errors import SlotIDError
from ...files import write_json, write_text
from ...folder_lock import only_run_in
from ...recognisers.recognisers import BACKENDS, find_recognisers
from .command import score_all
from .jobs import Job, people_of
from .page import markdown, write_page
from .recipe import FOLDER, BenchmarkJob, jobs_of, read_prompt_file, read_recipe
from .results import summary
from .runner import Runner

if TYPE_CHECKING:
    from argparse import Namespace, _SubParsersAction

PROMPTS = FOLDER / "prompts" / "people.yaml"


def add_benchmark(commands: "_SubParsersAction") -> None:
    one = commands.add_parser("benchmark", help="subjects x prompts x seeds x workflows over ComfyUI servers, scored")
    one.add_argument("--recipe", required=True, help="a shipped design by name, or a .yaml of your own")
    one.add_argument("--workflow", action="append", required=True, help="shipped API workflow or .json; one a row")
    one.add_argument("--references", type=Path, required=True, help="folder of a picture, clip or folder a person")
    one.add_argument("--prompts", type=Path, default=PROMPTS, help="YAML of prompts by stratum; default: ours")
    one.add_argument("--server", action="append", required=True, metavar="HOST:PORT", help="a running ComfyUI")
    one.add_argument("--folder", type=Path, required=True, help="keeps videos and results; a stopped run goes on")
    one.add_argument("--seed", type=int, default=0, help="first seed of the noise")
    one.add_argument("--silent-for", type=float, default=600.0, help="seconds after which a silent server is lost")
    one.add_argument("--recognisers", default="", help=f"some of {', '.join(BACKENDS)}; default: all that can run")
    one.add_argument("--models", type=Path, action="append", default=[], help="folder of network files; repeatable")
    one.add_argument("--conditioned", default="", help="recognisers from whose embedding the videos were made")
    one.add_argument("--json", type=Path, help="write the figures to this file, flat and in full precision")
    one.add_argument("--markdown", type=Path, help="write the table to this file")
    one.add_argument("--page", type=Path, help="write a page with every video's curve to this .html")
    one.set_defaults(run=run_benchmark)


def run_benchmark(options: "Namespace") -> None:
    recipe, prompts = read_recipe(options.recipe), read_prompt_file(options.prompts)
    jobs, workflows = jobs_of(recipe, options.workflow, options.references, prompts, options.seed)
    recognisers, missing = find_recognisers([n for n in options.recognisers.split(",") if n], options.models)
    with only_run_in(options.folder):
        runner = Runner(options.folder / "videos", options.server, workflows, options.silent_for)
        ended = sum(runner.record(job) is not None for job in jobs)
        with tqdm(total=len(jobs), initial=ended, desc="videos made") as bar:
            runner.run(jobs, bar.update)
        for address, why in runner.lost.items():
            print(f"{address} was lost: {why}", file=sys.stderr)
        conditioned = sorted(name for name in options.conditioned.split(",") if name)
        made, errors = made_of(jobs, runner, options.references)
        results, failed, faces = score_all(
            made, recognisers, {"looks": 0, "conditioned": conditioned}, options.folder / "scores"
        )
    figures = summary(results) | faces
    for row, count in Counter(job.workflow for job in jobs).items():
        figures[f"{row}.jobs"] = count
        figures[f"{row}.errors"] = sum(row == name for name, _ in errors)
    described = {recogniser.name: recogniser.description for recogniser in recognisers}
    missing |= failed | {f"{row}, {number}": text for number, (row, text) in enumerate(errors, 1)}
    text = markdown(figures, described, missing)
    print(text)
    if options.json:
        write_json(options.json, figures)
    if options.markdown:
        write_text(options.markdown, text)
    if options.page:
        write_page(options.page, figures, results, described, missing)
    if not results:
        raise SlotIDError("no video could be scored; the reasons are above.")


def made_of(jobs: list[BenchmarkJob], runner: Runner, references: Path) -> tuple[list[Job], list[tuple[str, str]]]:
    """Videos to score, by row and by row and stratum, and the errors of those that were not made."""
    people = people_of(references)
    made, errors = [], []
    for job in jobs:
        record = runner.record(job) or {"error": "it was not run."}
        if record["error"]:
            errors.append((job.workflow, record["error"]))
            continue
        for row in (job.workflow, f"{job.workflow} ({job.prompt.stratum})" if job.prompt.stratum else ""):
            if row:
                made.append(Job(runner.video(job), row, {job.person: people[job.person]}, job.prompt.text))
    return made, errors
