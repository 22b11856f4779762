"""The options of `evaluation pairs` and `evaluation mixing`."""

from pathlib import Path

from ..errors import SlotIDError
from ..files import write_json
from ..systems.registry import DEFAULT, SYSTEMS


def add_pairs(commands) -> None:
    pairs = commands.add_parser("pairs", help="two people in one frame, each in a half of it")
    pairs.add_argument("--pairs", type=int, default=8, help="of held-out people, default %(default)s")
    pairs.add_argument(
        "--joint-from", type=float, default=0.9, help="part of sampling at which the halves become one frame"
    )
    pairs.add_argument("--sheet", type=Path, help="write the pairs to this PNG or JPG; of several systems, one each")
    add_shared(pairs)
    pairs.set_defaults(run=run_pairs)

    mixing = commands.add_parser("mixing", help="two clips of one person merged, and two people mixed by weight")
    mixing.add_argument("--identities", type=int, default=8, help="held-out people, default %(default)s")
    add_shared(mixing)
    mixing.set_defaults(run=run_mixing)


def add_shared(command) -> None:
    command.add_argument("--systems", default=DEFAULT, help=f"some of {', '.join(SYSTEMS)}; default {DEFAULT}")
    command.add_argument("--adapters", type=Path, help="as for toy")
    command.add_argument("--face-encoder", default="", help="as for toy")
    command.add_argument("--seed", type=int, default=0, help="which held-out people; other seeds, other people")
    command.add_argument("--steps", type=int, help="default: as in evaluation.usage.Usage")
    command.add_argument("--json", type=Path, help="write the figures to this file, flat and in full precision")


def studio_of(options, systems: list[str]):
    from .studio import Studio
    from .usage import Usage
    from .variants import FULL

    studio = Studio(
        options.adapters,
        Usage(**({"steps": options.steps} if options.steps else {})),
        face_encoder=options.face_encoder,
    )
    for system in systems:
        if studio.adapter_path(system, FULL) is None:
            raise SlotIDError(f"There is no adapter of {system}. Train one, and give its folder as --adapters.")
    return studio


def run_pairs(options) -> None:
    from .pairs import PairSettings, evaluate_pairs

    systems = [name for name in options.systems.split(",") if name]
    settings = PairSettings(options.pairs, options.seed, options.joint_from)
    figures = evaluate_pairs(studio_of(options, systems), systems, settings, options.sheet, print)
    if options.json:
        write_json(options.json, figures)


def run_mixing(options) -> None:
    from .mixing import evaluate_mixing

    systems = [name for name in options.systems.split(",") if name]
    figures = evaluate_mixing(studio_of(options, systems), systems, options.identities, options.seed, print)
    if options.json:
        write_json(options.json, figures)
