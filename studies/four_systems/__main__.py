"""Train four systems at one budget, measure them, and write the page; what is there already is not made again.

python -m studies.four_systems                 # everything, going on where an earlier call stopped
python -m studies.four_systems --plan          # what is still to be made
python -m studies.four_systems --page-only     # the page, from the result files alone
python -m studies.four_systems --rows base,slot_id.full,ground_truth --parts toy --seeds 1
"""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from slotid_core.errors import SlotIDError
from studies.four_systems.page import write_page
from studies.four_systems.plan import PARTS, ROWS
from studies.four_systems.runner import ROOT, Settings, Stopped, Study, check

DEFAULT = Settings(Path(), Path())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m studies.four_systems", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads")
    parser.add_argument("--output", type=Path, default=ROOT / "output/four_systems", help="gets data and adapters")
    parser.add_argument("--data", type=Path, help="the people to train on, prepared or to be; default: in --output")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/four_systems", help="gets the page and the results")
    parser.add_argument(
        "--readme", type=Path, default=ROOT / "README.md", help="gets the short form, once there is one"
    )
    parser.add_argument("--rows", default="", help=f"some of {', '.join(row.name for row in ROWS)}")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--seeds", type=int, default=0, help="training seeds at most; default: all")
    for name in ("people", "prompts", "long_people", "seed", "steps", "batch", "long_frames", "sampling_steps"):
        value = getattr(DEFAULT, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value, help=f"default {value}")
    parser.add_argument(
        "--drawn-people", type=int, default=0, help="to train on; default: those of the data's settings"
    )
    parser.add_argument("--plan", action="store_true", help="make nothing; say what is still to be made")
    parser.add_argument("--page-only", action="store_true", help="make nothing; write the page from the result files")
    options = parser.parse_args(arguments)
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    given = {one.name: getattr(options, one.name) for one in fields(Settings) if hasattr(options, one.name)}
    settings = Settings(**given | {"results": options.page / "results"})
    check(settings)
    study = Study(settings)
    jobs = chosen(study, options)
    if options.plan:
        adapters = dict.fromkeys(
            study.adapter_path(one, seed) for _, row, seed in jobs for one in study.adapters_of(row)
        )
        print("\n".join(f"train {path.parent}" for path in adapters if not path.is_file()))
        print("\n".join(f"measure {part} of {row.name}, training seed {seed}" for part, row, seed in jobs))
        print(f"{len(jobs)} measurements")
        return 0
    try:
        for part, row, seed in [] if options.page_only else jobs:
            study.make(part, row, seed)
    except Stopped:
        raise SlotIDError("stopped and saved; run it again to go on.") from None
    finally:
        write_page(settings.results, options.page, options.readme)
        print(options.page / "README.md")
    return 0


def chosen(study: Study, options: argparse.Namespace) -> list:
    rows, parts = ([name for name in text.split(",") if name] for text in (options.rows, options.parts))
    unknown = [name for name in rows if name not in {row.name for row in ROWS}]
    unknown += [name for name in parts if name not in PARTS]
    if unknown:
        raise SlotIDError(f"There is no row or part {unknown[0]!r}; see --help for those that there are.")
    return [
        (part, row, seed)
        for part, row, seed in study.missing()
        if part in parts and (not rows or row.name in rows) and (not options.seeds or seed < options.seeds)
    ]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SlotIDError as error:
        sys.exit(f"studies.four_systems: {error}")
