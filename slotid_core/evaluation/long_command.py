"""The options of `evaluation long`."""

from pathlib import Path

from ..systems.registry import DEFAULT, REFINEMENTS, SYSTEMS


def add_long(commands) -> None:
    long = commands.add_parser("long", help="long videos: drift, flicker and likeness over time, refined and not")
    long.add_argument("--systems", default=DEFAULT, help=f"some of {', '.join(SYSTEMS)}; default {DEFAULT}")
    long.add_argument("--rows", default="", help="such as base,full; default: the base and every system's full")
    long.add_argument("--adapters", type=Path, help="as for toy")
    long.add_argument("--face-encoder", default="", help="as for toy")
    long.add_argument("--refiner", type=Path, help="a trained refinement, which is compared with none")
    long.add_argument("--refinement", default=next(iter(REFINEMENTS)), help="what --refiner is; default %(default)s")
    long.add_argument("--ways", default="windows,chained", help="how a video gets long; default %(default)s")
    long.add_argument("--frames", type=int, default=81, help="latent frames, default %(default)s")
    long.add_argument("--window", type=int, default=5, help="of a window or piece, default %(default)s")
    long.add_argument("--overlap", type=int, default=2, help="that two share, default %(default)s")
    long.add_argument("--identities", type=int, default=16, help="how many held-out people, default 16")
    long.add_argument("--seed", type=int, default=0, help="which held-out people; other seeds, other people")
    long.add_argument("--steps", type=int, help="default: as in evaluation.usage.Usage")
    long.add_argument("--json", type=Path, help="write the figures to this file, flat and in full precision")
    long.add_argument("--curves", type=Path, help="write all curves to this PNG or JPG")
    long.add_argument("--sheet", type=Path, help="write the first person's videos, one a row, to this PNG or JPG")
    long.set_defaults(run=run_long)


def run_long(options) -> None:
    from .long_videos import evaluate_long

    evaluate_long(options)
