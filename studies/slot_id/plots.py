"""Plots of rows, ablations and trials with their 95% intervals."""

from collections.abc import Sequence
from pathlib import Path

from slotid_core.files import whole_file
from studies.slot_id.plan import ABLATION_GROUPS, AS_SHIPPED, MAIN_ROWS, TRIALS, Row
from studies.slot_id.runner import slug

Figures = dict[str, float | str]
INK, QUIET = "#386fa4", "#b8b8c0"


def save_plots(figures: Figures, folder: Path) -> dict[str, bool]:
    """Whether each picture was saved: there are figures for it."""
    folder.mkdir(parents=True, exist_ok=True)
    values, differences = ("similarity", "dynamics"), ("similarity.difference", "dynamics.difference")
    pictures = {"main.png": ("main", MAIN_ROWS, values)}
    for first, *others in ABLATION_GROUPS:
        pictures[f"ablations_{slug(first.name)}.png"] = ("ablation", others, differences)
    for group, rows in TRIALS.items():
        pictures[f"trial_{slug(group)}.png"] = ("trial", (AS_SHIPPED, *rows), values)
    return {
        name: _save(lambda axes, content=content: _rows(axes, figures, *content), folder / name)
        for name, content in pictures.items()
    }


def _save(draw, path: Path) -> bool:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    try:
        if not draw(axes):
            return False
        figure.tight_layout()
        with whole_file(path) as unfinished:
            figure.savefig(unfinished, dpi=80)
    finally:
        plt.close(figure)
    return True


def _rows(axes, figures: Figures, part: str, rows: Sequence[Row], names: tuple[str, ...]) -> bool:
    """A point with its interval for each row that has figures, from the top; false if there is nothing to compare."""
    known = [row for row in rows if any(f"{part}.{slug(row.name)}.{name}" in figures for name in names)]
    if len(known) < 2:
        return False
    for axis, name in zip(axes, names, strict=True):
        for place, row in enumerate(reversed(known)):
            key = f"{part}.{slug(row.name)}.{name}"
            if key in figures:
                axis.plot([figures[f"{key}.low"], figures[f"{key}.high"]], [place, place], color=QUIET, linewidth=3)
                axis.plot(figures[key], place, "o", color=INK)
        axis.set_yticks(range(len(known)), [row.name for row in reversed(known)])
        axis.set_xlabel(f"toy world: {name.replace('.', ', ')}")
        axis.grid(axis="x", alpha=0.3)
        if name.endswith("difference"):
            axis.axvline(0, color="black", linewidth=0.8)
    return True
