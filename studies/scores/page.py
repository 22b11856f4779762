"""The page docs/scores.md and its plot, from figures alone."""

import math
from pathlib import Path

from slotid_core.evaluation.likeness.face_scores import FACE_FIGURES
from slotid_core.evaluation.likeness.face_sets import FACE_SET_FIGURES
from slotid_core.evaluation.likeness.frame_scores import FRAME_FIGURES
from slotid_core.evaluation.likeness.networks import NETWORK_FIGURES
from slotid_core.files import whole_file
from slotid_core.recognisers.recogniser import Recogniser

from .measure import SPOILS

COMMAND = "python -m studies.scores --data ../shared/data --models MODELS"


def draw(measured: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    pairs = measured["pairs"]
    figure, axes = plt.subplots(len(pairs), 1, figsize=(8, 1.9 * len(pairs)), squeeze=False, layout="constrained")
    for axis, (name, values) in zip(axes[:, 0], pairs.items(), strict=True):
        bins = np.linspace(min(values["different"].min(), 0.0), 1.0, 90)
        for kind, colour in (("different", "#c4572e"), ("same", "#1f6fb4")):
            label = f"{kind} ({len(values[kind])} pairs)"
            axis.hist(values[kind], bins, weights=np.full(len(values[kind]), 1 / len(values[kind])), alpha=0.7,
                      color=colour, label=label)  # fmt: skip
        axis.set(title=name, ylabel="share", xlabel="cosine")
        axis.legend(loc="upper left", fontsize=8)
    with whole_file(path) as unfinished:
        figure.savefig(unfinished, dpi=80)
    plt.close(figure)


def page(figures: dict[str, float], recognisers: list[Recogniser], missing: dict[str, str]) -> str:
    lines = [
        "# What each score is worth", "",
        f"Written by `{COMMAND}`; figures in [scores/figures.json](scores/figures.json). Faces: 102 adults, "
        "neutral and smiling (Face Research Lab London Set, CC-BY 4.0), and 24 public clips. None of them is "
        "in this repository.",
        "", "## The same person against two people", "",
        "AUC: how often a pair of one person scores above a pair of two. Overlap: share of pairs of two people that "
        "score above the least alike pair of one.", "",
        "| recogniser | on | AUC | same, mean (least) | different, mean (most) | overlap | pairs |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for one in recognisers:
        for on, what in (
            ("portraits", "neutral against smiling"),
            ("clips", "halves of clips against strangers' halves"),
        ):
            start = f"{one.name}.{on}."
            f = {key.removeprefix(start): value for key, value in figures.items() if key.startswith(start)}
            lines.append(
                f"| {one.name} | {what} | {f['auc']:.4f} | {f['same']:.3f} ({f['same_least']:.3f}) | "
                f"{f['different']:.3f} ({f['different_most']:.3f}) | {f['overlap']:.2%} | "
                f"{f['same_pairs']:g} / {f['different_pairs']:g} |"
            )
    lines += ["", "![Histograms of cosines](scores/overlap.png)", ""]
    lines += [
        f"- `{one.name}`: {one.description}. Faces found in {figures[f'{one.name}.clips.detected']:.0%} of the clips' "
        f"frames. Of two people, one pair in a thousand reaches {figures[f'{one.name}.threshold']:.3f}, the threshold."
        for one in recognisers
    ]  # fmt: skip
    lines += [
        "",
        "A cosine means something only beside these. `calibrated` has strangers at 0 and the same person at 1.",
        "",
    ]
    lines += ["## What spoiling does", "",
              "The smiling portrait is spoilt and compared with the person's neutral one and with a stranger's. "
              "Sizes are pixels of portraits of 512, whose faces are about 250 wide.", "",
              "| what | " + " | ".join(f"{one.name}: found, same, stranger" for one in recognisers) + " |",
              "|---" * (len(recognisers) + 1) + "|"]  # fmt: skip
    for what in ("unspoilt", *SPOILS):
        cells = []
        for one in recognisers:
            found, same, other = (figures[f"{one.name}.{what}.{part}"] for part in ("detected", "same", "stranger"))
            cells.append(f"{found:.0%}, {_number(same)}, {_number(other)}")
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    agreements = [key for key in figures if key.startswith("agreement.") and key.endswith(".same")]
    if agreements:
        lines += ["", "## Do recognisers agree?", "",
                  "Correlation of two recognisers' cosines over the same pairs: of one person, and of strangers.",
                  ""]  # fmt: skip
        for key in agreements:
            first, second = key.removeprefix("agreement.").removesuffix(".same").split(".")
            others = figures[key.replace(".same", ".strangers")]
            lines.append(f"- {first} and {second}: {figures[key]:.2f} of one person, {others:.2f} of strangers.")
    lines += ["", "## Every figure", "", *(f"- `{name}`: {text}." for name, text in FACE_FIGURES.items())]
    lines += [f"- `frames.{name}`: {text}." for name, text in FRAME_FIGURES.items()]
    lines += [f"- `video.{name}`: {text}." for name, text in NETWORK_FIGURES.items()]
    lines += [f"- `{name}`: {text}." for name, text in FACE_SET_FIGURES.items()]
    if missing:
        lines += ["", "## Not measured here", "", *(f"- `{name}`: {why}" for name, why in missing.items())]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
