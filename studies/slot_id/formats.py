"""Cells and lines of the page's tables, from flat figures."""

from slotid_core.toy_world.person import DYNAMICS
from studies.slot_id.claims import MOVES
from studies.slot_id.figures import LOWER_IS_BETTER
from studies.slot_id.people import EARLIER
from studies.slot_id.plan import Row
from studies.slot_id.verdicts import NOT_RUN

Figures = dict[str, float | str]

HEADINGS = {
    "similarity": "similarity", "rank1": "rank-1", "action": "action", "background": "background",
    "clothes": "clothes", "dynamics": "dynamics r", "dynamics_error": "dynamics error", "marks": "marks AUC",
    **{metric: factor.replace("_", " ") for metric, factor in zip(MOVES, DYNAMICS, strict=True)},
}  # fmt: skip


def heading(*names: str) -> str:
    """The first two lines of a table."""
    titles = [f"{HEADINGS.get(name, name)}{' ↓' if name in LOWER_IS_BETTER else ''}" for name in names]
    return f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}"


def line(name: str, cells: list[str]) -> str:
    if not any(cells):
        cells = [NOT_RUN, *cells[1:]]
    return f"| {name} | {' | '.join(cells)} |"


def figure(figures: Figures, key: str) -> str:
    if key not in figures:
        return ""
    interval = f"{figures[key]:.3f} [{figures[f'{key}.low']:.3f}, {figures[f'{key}.high']:.3f}]"
    return interval + of_seeds(figures, key, ".3f")


def signed(figures: Figures, key: str) -> str:
    """A difference; its p-value too, where it was tested."""
    if key not in figures:
        return ""
    interval = f"{figures[key]:+.3f} [{figures[f'{key}.low']:+.3f}, {figures[f'{key}.high']:+.3f}]"
    p = f", p {figures[f'{key}.p']:.3f}" if f"{key}.p" in figures else ""
    return interval + of_seeds(figures, key, "+.3f") + p


def of_seeds(figures: Figures, key: str, form: str) -> str:
    """What each training seed gives, where there are several."""
    numbers = [name for name in (f"{key}.seed_{seed}" for seed in range(10)) if name in figures]
    return f" ({', '.join(format(figures[name], form) for name in numbers)})" if numbers else ""


def share(figures: Figures, key: str) -> str:
    return f"{figures[key]:.0%} [{figures[f'{key}.low']:.0%}, {figures[f'{key}.high']:.0%}]"


def notes(figures: Figures, key: str, row: Row | None = None) -> str:
    """What is beside the name of a row or a difference that deviates from the protocol."""
    said = []
    planned = row.seeds if row is not None else figures.get(f"{key}.planned")
    made = figures.get(f"{key}.seeds", planned)
    if made != planned:
        said.append(f"{made} of {planned} seeds")
    if figures.get(f"{key}.on") == EARLIER:
        said.append(f"{EARLIER} clips")
    return f" ({', '.join(said)})" if said else ""


def picture(name: str, pictures: set[str]) -> str:
    return f"\n![{name}]({name})\n" if name in pictures else ""
