"""Compare adapters on held-out people.

    python -m slotid_core.evaluation train-variants --config slotid_core/training/configs/toy_world.yaml --output DIR
    python -m slotid_core.evaluation toy [--systems a,b] [--adapters DIR] [--identities N] [--rows a,b] [--json FILE]
    python -m slotid_core.evaluation scales [--systems a,b] [--text-scales 1,4] [--identity-scales 1,4] [--map FILE]
    python -m slotid_core.evaluation levels [--systems a,b] [--levels 1,0.7] [--identities N] [--json FILE]
    python -m slotid_core.evaluation long [--systems a,b] [--refiner FILE] [--frames N] [--curves FILE]
    python -m slotid_core.evaluation pairs [--systems a,b] [--pairs N] [--sheet FILE] [--json FILE]
    python -m slotid_core.evaluation mixing [--systems a,b] [--identities N] [--json FILE]
    python -m slotid_core.evaluation graph [--workflow NAME] [--identities N] [--folder DIR] [--json FILE]
    python -m slotid_core.evaluation videos --videos DIR --references DIR [--folder DIR] [--json FILE] [--page FILE]
    python -m slotid_core.evaluation benchmark --recipe NAME --workflow NAME --server HOST:PORT --folder DIR ...

`videos` and `benchmark` score real videos. Every other figure is a toy-world figure: drawn people, tiny
models, judged by networks trained on drawings.
"""

import argparse
import sys
from pathlib import Path

from ..errors import SlotIDError
from ..files import write_json
from ..systems.registry import DEFAULT, SYSTEMS
from .levels import add_levels
from .likeness.benchmark_command import add_benchmark
from .likeness.command import add_videos
from .likeness.study_command import add_study
from .long_command import add_long
from .pair_command import add_pairs

SHOWN = 8  # people on a contact sheet


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
    toy = commands.add_parser("toy", help="adapters on people of the toy world")
    toy.add_argument("--systems", default=DEFAULT, help=f"some of {', '.join(SYSTEMS)}; default {DEFAULT}")
    toy.add_argument("--identities", type=int, default=64, help="how many held-out people, default 64")
    toy.add_argument("--prompts", type=int, default=2, help="scenes of each, default 2")
    toy.add_argument(
        "--rows", default="", help="such as base,described,full,ground_truth; default: all that have an adapter"
    )
    toy.add_argument("--adapters", type=Path, help="folder with one training output a variant: full/, anchor/, ...")
    toy.add_argument("--face-encoder", default="", help="IR-SE50 file; default: the toy world's")
    toy.add_argument("--seed", type=int, default=0, help="which held-out people; other seeds, other people")
    for name, kind in (("text-scale", float), ("identity-scale", float), ("steps", int)):
        toy.add_argument(f"--{name}", type=kind, help="default: as in evaluation.usage.Usage")
    toy.add_argument(
        "--as-users", action="store_true", help="references as the nodes make them of a clip; default: drawn portraits"
    )
    toy.add_argument("--json", type=Path, help="write the figures to this file, flat and in full precision")
    toy.add_argument("--sheet", type=Path, help="write a contact sheet of the rows to this PNG or JPG")
    toy.set_defaults(run=run_toy)

    scales = commands.add_parser("scales", help="likeness and prompt figures over both scales of guidance")
    scales.add_argument("--systems", default=DEFAULT, help=f"some of {', '.join(SYSTEMS)}; default {DEFAULT}")
    scales.add_argument("--text-scales", default="1,2.5,4", help="scales of the prompt, default 1,2.5,4")
    scales.add_argument("--identity-scales", default="1,2.5,4", help="scales of the person, default 1,2.5,4")
    scales.add_argument("--identities", type=int, default=16, help="how many held-out people, default 16")
    scales.add_argument("--prompts", type=int, default=2, help="scenes of each, default 2")
    scales.add_argument("--adapters", type=Path, help="as for toy")
    scales.add_argument("--face-encoder", default="", help="IR-SE50 file, for systems that read face embeddings")
    scales.add_argument("--seed", type=int, default=0, help="which held-out people; other seeds, other people")
    scales.add_argument("--steps", type=int, help="default: as in evaluation.usage.Usage")
    scales.add_argument("--json", type=Path, help="write the figures to this file, flat and in full precision")
    scales.add_argument("--map", type=Path, help="write heat maps to this PNG or JPG; of several systems, one each")
    scales.set_defaults(run=run_scales)

    graph = commands.add_parser("graph", help="what a user gets: clips as files through a real ComfyUI and a workflow")
    graph.add_argument(
        "--workflow", default=f"{DEFAULT}_text_to_video", help="a shipped API workflow, or a .json of yours"
    )
    graph.add_argument("--identities", type=int, default=64, help="how many held-out people, default 64")
    graph.add_argument("--prompts", type=int, default=2, help="scenes of each, default 2")
    graph.add_argument("--seed", type=int, default=0, help="which held-out people; other seeds, other people")
    graph.add_argument("--steps", type=int, help="sampling steps; default: the workflow's own")
    graph.add_argument("--adapters", type=Path, help="as for toy, of the lab; default: what ships")
    graph.add_argument("--comfyui", type=Path, help="folder of the ComfyUI to start; default: COMFYUI_PATH or .comfyui")
    graph.add_argument(
        "--server", default="", metavar="HOST:PORT", help="a running ComfyUI with the pack; its folders get the files"
    )
    graph.add_argument("--folder", type=Path, help="keeps what came out; a stopped run given the same folder goes on")
    graph.add_argument("--json", type=Path, help="write the figures to this file, flat and in full precision")
    graph.add_argument("--sheet", type=Path, help="write reference, portrait and result to this PNG or JPG")
    graph.set_defaults(run=run_graph)

    add_levels(commands)
    add_long(commands)
    add_pairs(commands)
    add_videos(commands)
    add_benchmark(commands)
    add_study(commands)

    variants = commands.add_parser("train-variants", help="train the adapters that the variants of a system need")
    variants.add_argument("--config", type=Path, required=True, help="settings of the variant `full`")
    variants.add_argument("--output", type=Path, required=True, help="gets a folder a variant; for toy --adapters")
    variants.add_argument("--variants", default="", help="some of them; default: all that have an adapter")
    variants.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="for all: run.steps=2000")
    variants.set_defaults(run=run_train_variants)
    return root


def run_train_variants(options) -> None:
    from .train_variants import train_variants

    names = [name for name in options.variants.split(",") if name]
    if not train_variants(options.config, options.output, names, options.set):
        raise SlotIDError("stopped and saved; run it again to go on.")


def run_graph(options) -> None:
    from .graph.command import evaluate_graph

    evaluate_graph(options)


def run_scales(options) -> None:
    from .scales import evaluate_scales

    evaluate_scales(options)


def run_toy(options) -> None:
    from tqdm import tqdm

    from .copying import Copying
    from .metrics import Metrics, gap_closed, row_line, summarize
    from .sheet import save_rows
    from .studio import Studio
    from .subjects import subjects_of
    from .usage import Reference, Usage
    from .variants import BASE, DESCRIBED, GROUND_TRUTH, chosen_rows, rows_of

    systems = [name for name in options.systems.split(",") if name]
    names = [name for name in options.rows.split(",") if name]
    rows = chosen_rows(names, systems) if names else rows_of(systems)
    chosen = {name: getattr(options, name) for name in ("steps", "text_scale", "identity_scale")}
    given = {name: value for name, value in chosen.items() if value is not None}
    usage = Usage(**given, reference=Reference(as_user=options.as_users))
    studio = Studio(options.adapters, usage, face_encoder=options.face_encoder)
    if not names:
        rows = [row for row in rows if studio.has(row)]
    subjects = subjects_of(options.seed, options.identities, options.prompts)
    metrics, copying = Metrics(studio, subjects, options.seed), Copying(studio, subjects)
    figures: dict[str, float] = {}
    shown = {}
    for row in rows:
        with tqdm(total=len(subjects) * options.prompts, desc=row.name) as bar:
            clips = studio.clips(row, subjects, options.seed, bar.update)
        figures |= summarize(row.name, metrics.measure(clips) | copying.measure(row, clips))
        shown[row.name] = clips[:SHOWN, 0]
        print(row_line(row.name, row.name, figures))
    if {BASE, GROUND_TRUTH} <= {row.name for row in rows}:
        for row in rows:
            if row.system or row.name == DESCRIBED:
                share = figures[f"{row.name}.gap_closed"] = gap_closed(figures, row.name)
                print(f"toy world  {row.name} closes {share:.0%} of the similarity between base and ground truth")
    if options.sheet:
        save_rows(shown, subjects, options.sheet)
        print(options.sheet)
    if options.json:
        write_json(options.json, figures)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SlotIDError as error:
        sys.exit(f"evaluation: {error}")
