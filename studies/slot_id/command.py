"""Train the adapters of the study, measure every row, and write the page.

The parts run in the given order. The page is written at the end, or when a signal stops the run. All parts take days
on a CPU, so run them one by one.
"""

import argparse
from pathlib import Path

from slotid_core.errors import SlotIDError
from slotid_core.files import write_json
from studies.slot_id.people import DEVELOPMENT_SEED, REPORTED_SEED

ROOT = Path(__file__).parents[2]  # of the repository
TRAINING = ROOT / "slotid_core/training/configs/toy_world.yaml"
DATA = ROOT / "slotid_core/dataset/configs/toy_world_study.yaml"
PARTS = ("main", "ablations", "trials")


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    run_study(options)
    return 0


def parser() -> argparse.ArgumentParser:
    study = argparse.ArgumentParser(
        prog="python -m studies.slot_id", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    study.add_argument("--threads", type=int, default=0, help="CPU threads")
    study.add_argument("--config", type=Path, default=TRAINING, help="settings that all adapters start from")
    study.add_argument("--data", type=Path, default=DATA, help="settings of the people to train on")
    study.add_argument("--output", type=Path, default=ROOT / "output/study", help="folder for data and adapters")
    study.add_argument("--page", type=Path, default=ROOT / "docs/study", help="folder of the page and its row files")
    study.add_argument("--parts", default=",".join(PARTS), help="main,ablations,trials or some, in the order to run")
    study.add_argument("--rows", default="", help='only these rows, such as "base;slots third, 1 slot"')
    study.add_argument("--seeds", type=int, help="training seeds of a row, at most; default: all")
    study.add_argument("--steps", type=int, default=4000, help="the full budget; ablations have a third of it")
    study.add_argument("--people", type=int, default=64, help="held-out identities, default 64")
    study.add_argument("--seed", type=int, default=REPORTED_SEED, help="the people that figures are reported on")
    study.add_argument(
        "--development-seed", type=int, default=DEVELOPMENT_SEED, help="those that defaults are chosen on"
    )
    study.add_argument("--weights", type=Path, help="the toy world's models; default: inside the package")
    study.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="for all: run.micro_batch=4")
    study.add_argument("--plan", action="store_true", help="make nothing; say what is to be trained and measured")
    study.add_argument("--page-only", action="store_true", help="train nothing; write the page from the row files")
    study.add_argument("--json", type=Path, help="also write the figures to this file")
    return study


def run_study(options: argparse.Namespace) -> None:
    from slotid_core.toy_world.family import WEIGHTS
    from studies.slot_id.jobs import in_order, to_do
    from studies.slot_id.plan import ABLATION_ROWS, AS_SHIPPED, MAIN_ROWS, TRIALS
    from studies.slot_id.report import write_report
    from studies.slot_id.runner import Stopped, Study, StudySettings

    groups = {
        "main": MAIN_ROWS,
        "ablations": ABLATION_ROWS,
        "trials": (AS_SHIPPED, *(row for rows in TRIALS.values() for row in rows)),
    }
    parts = [part for part in options.parts.split(",") if part]
    only = [name for name in options.rows.split(";") if name]
    unknown = [part for part in parts if part not in groups]
    unknown += [name for name in only if name not in {row.name for rows in groups.values() for row in rows}]
    if unknown:
        raise SlotIDError(f"The study has no part or row {unknown[0]!r}. Its parts are {', '.join(PARTS)}.")
    study = Study(
        StudySettings(
            options.config, options.data, options.output, options.page / "rows", options.steps, options.people,
            seed=options.seed, development_seed=options.development_seed, weights=options.weights or WEIGHTS,
            overrides=tuple(options.set),
        )
    )  # fmt: skip
    rows = [[row for row in groups[part] if not only or row.name in only] for part in parts]
    jobs = [job for job in in_order(rows) if options.seeds is None or job.seed < options.seeds]
    if options.plan:
        print("\n".join(to_do(study, jobs)))
        return
    try:
        for job in [] if options.page_only else jobs:
            study.make(job.row, job.seed, study.sets[job.people])
    except Stopped:
        raise SlotIDError("stopped and saved; run it again to go on.") from None
    finally:
        figures = write_report(study, options.page)
        print(options.page / "README.md")
    if options.json:
        write_json(options.json, figures)
