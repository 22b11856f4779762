"""Where likeness is lost: the person really drawn, with noise of some level, from which sampling goes on.

    python -m slotid_core.evaluation levels --levels 1,0.9,0.8,0.7,0.55 --json F

What is above the level is given, so the fall from one level to a lower one is what sampling loses between the two.
"""

from dataclasses import replace

from ..errors import SlotIDError
from ..files import write_json
from .pair_command import add_shared

ROWS = ("base", "full")


def add_levels(commands) -> None:
    levels = commands.add_parser("levels", help="at which noise levels likeness is lost")
    levels.add_argument("--levels", default="1,0.9,0.8,0.7,0.55", help="at which sampling begins, default %(default)s")
    levels.add_argument("--rows", default=",".join(ROWS), help="default %(default)s")
    levels.add_argument("--identities", type=int, default=24, help="how many held-out people, default %(default)s")
    levels.add_argument("--prompts", type=int, default=1, help="scenes of each, default %(default)s")
    levels.add_argument("--text-scale", type=float, help="default: as in evaluation.usage.Usage")
    levels.add_argument("--identity-scale", type=float, help="default: as in evaluation.usage.Usage")
    add_shared(levels)
    levels.set_defaults(run=run_levels)


def run_levels(options) -> None:
    """The command. Keys are `<row>.begin_<level>.<figure>`."""
    from tqdm import tqdm

    from .metrics import Metrics, row_line, summarize
    from .studio import Studio
    from .subjects import subjects_of
    from .usage import Usage
    from .variants import chosen_rows

    chosen = {name: getattr(options, name) for name in ("steps", "text_scale", "identity_scale")}
    usage = Usage(**{name: value for name, value in chosen.items() if value is not None})
    rows = chosen_rows(
        [name for name in options.rows.split(",") if name], [name for name in options.systems.split(",") if name]
    )
    begins = levels_of(options.levels)
    studio = Studio(options.adapters, usage, face_encoder=options.face_encoder)
    subjects = subjects_of(options.seed, options.identities, options.prompts)
    metrics = Metrics(studio, subjects, options.seed)
    figures: dict[str, float] = {}
    for row in rows:
        for begin in begins:
            name = f"{row.name}.begin_{begin:g}"
            with tqdm(total=len(subjects) * options.prompts, desc=name) as bar:
                clips = studio.clips(row, subjects, options.seed, bar.update, replace(usage, begin=begin))
            figures |= summarize(name, metrics.measure(clips))
            print(row_line(name, name, figures))
    if options.json:
        write_json(options.json, figures)


def levels_of(listed: str) -> list[float]:
    """ "1,0.7" -> [1.0, 0.7], from the highest.

    Raises:
        SlotIDError: not numbers above 0 and up to 1.
    """
    try:
        levels = sorted({float(part) for part in listed.split(",") if part}, reverse=True)
    except ValueError:
        levels = []
    if not levels or not all(0 < level <= 1 for level in levels):
        raise SlotIDError(f"Noise levels are numbers above 0 and up to 1, such as 1,0.8,0.55; got {listed!r}.")
    return levels
