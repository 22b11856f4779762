"""The study in pictures: rows, ablations and trials, each with its 95% interval."""

from pathlib import Path

from .plan import ABLATION_ROWS, AS_SHIPPED, MAIN_ROWS, TRIALS, Row
from .runner import slug

Figures = dict[str, float | str]
INK, QUIET = "#386fa4", "#b8b8c0"


def save_plots(figures: Figures, folder: Path) -> list[Path]:
    """Those for which there are figures; returns their files."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        "main.png": lambda axes: _rows(axes, figures, "main", MAIN_ROWS, ("similarity", "dynamics")),
        "ablations.png": lambda axes: _rows(
            axes, figures, "ablation", ABLATION_ROWS[1:], ("similarity.difference", "dynamics.difference")
        ),
    }
    saved = [_save(draw, folder / name) for name, draw in pictures.items()]
    for group, rows in TRIALS.items():
        name = f"trial_{slug(group)}.png"
        rows = (AS_SHIPPED, *rows)
        saved.append(
            _save(
                lambda axes, rows=rows: _rows(axes, figures, "trial", rows, ("similarity", "dynamics")), folder / name
            )
        )
    return [path for path in saved if path is not None]


def _save(draw, path: Path) -> Path | None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    try:
        if not draw(axes):
            return None
        figure.tight_layout()
        temporary = path.with_suffix(".tmp.png")
        figure.savefig(temporary, dpi=80)
        temporary.replace(path)
    finally:
        plt.close(figure)
    return path


def _rows(axes, figures: Figures, part: str, rows: tuple[Row, ...], names: tuple[str, ...]) -> bool:
    """A point with its interval for each row that has figures, from the top; false if there is nothing to compare."""
    known = [row for row in rows if f"{part}.{slug(row.name)}.{names[0]}" in figures]
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
