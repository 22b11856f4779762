"""The section of docs/scores.md on the toy world, and its plot, from figures alone."""

from itertools import pairwise
from pathlib import Path

from slotid_core.files import whole_file

COMMAND = "python -m studies.scores.drawn"
BEGIN, END = "<!-- toy world: begin -->", "<!-- toy world: end -->"


def rows_of(figures: dict[str, float]) -> list[str]:
    """In the order of the toy world's judge."""
    rows = [key.removeprefix("detected.") for key in figures if key.startswith("detected.")]
    return sorted(rows, key=lambda row: figures[f"judge.{row}"])


def section(figures: dict[str, float]) -> str:
    rows = rows_of(figures)
    same = rows == sorted(rows, key=lambda row: figures[f"videos.{row}"])
    verdict = "the order is the same" if same else "the order is **not** the same"
    close = [
        f"{low} and {high}" for low, high in pairwise(rows)
        if figures[f"judge.{low}.high"] >= figures[f"judge.{high}.low"]
    ]  # fmt: skip
    doubt = (
        [f"The judge's intervals of {', and of '.join(close)} overlap, so their order is chance.", ""] if close else []
    )
    lines = [
        "## Do they rank systems as they should?", "",
        f"In the toy world the truth is known. {figures['people']:g} held-out people are drawn by each row, by "
        f"`{COMMAND}`; `stranger` is somebody else, really drawn. The clips are scored twice: as tensors by the toy "
        "world's own judge, as `evaluation toy` does, and as video files by `evaluation videos` with another network, "
        f"the toy recogniser. Of the {len(rows)} rows {verdict}; the rank correlation is "
        f"{figures['rank_correlation']:.2f}.", "",
        "| row | judge's similarity | `with_missing` of `evaluation videos` | faces found | `face_frechet` |",
        "|---|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        cells = [
            f"{figures[key]:.3f} [{figures[f'{key}.low']:.3f}, {figures[f'{key}.high']:.3f}]"
            for key in (f"judge.{row}", f"videos.{row}")
        ]
        others = f"{figures[f'detected.{row}']:.0%} | {figures[f'face_frechet.{row}']:.3f}"
        lines.append(f"| {row} | {cells[0]} | {cells[1]} | {others} |")
    lines += [
        "", *doubt, "![Bars of both scores for each row](scores/drawn.png)", "",
        f"The toy recogniser's own figures, on two clips of each of 64 people: AUC {figures['recogniser.auc']:.4f}, "
        f"same {figures['recogniser.same']:.3f}, different {figures['recogniser.different']:.3f}. Slot-ID's toy "
        "adapter never saw it; Lynx's reads its vector.",
    ]  # fmt: skip
    return "\n".join([BEGIN, *lines, END])


def with_section(page: str, figures: dict[str, float]) -> str:
    """The page with the section in place of the one that is there, else before what every figure means."""
    text = section(figures)
    if BEGIN in page:
        return page.split(BEGIN)[0] + text + page.split(END)[1]
    place = "## Every figure"
    return page.replace(place, f"{text}\n\n{place}", 1)


def draw(figures: dict[str, float], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    rows = rows_of(figures)
    figure, axis = plt.subplots(figsize=(8, 3), layout="constrained")
    places = np.arange(len(rows))
    kinds = (("judge", "toy world's judge", "#1f6fb4"), ("videos", "evaluation videos, with_missing", "#c4572e"))
    for shift, (of, label, colour) in zip((-0.2, 0.2), kinds, strict=True):
        values, low, high = (np.array([figures[f"{of}.{row}{end}"] for row in rows]) for end in ("", ".low", ".high"))
        errors = np.maximum(0, [values - low, high - values])
        axis.bar(places + shift, values, 0.38, yerr=errors, capsize=3, color=colour, label=label)
    axis.set_xticks(places, rows)
    axis.set(ylabel="cosine to the person", title=f"Toy world, {figures['people']:g} people, 95% intervals over people")
    axis.axhline(0, color="#888888", linewidth=0.8)
    axis.legend(fontsize=8)
    with whole_file(path) as unfinished:
        figure.savefig(unfinished, dpi=80)
    plt.close(figure)
