"""Long videos of the toy world, with and without a refiner of their latents.

    python -m slotid_core.evaluation long --systems a,b --refiner FILE --frames 81 --json F --curves F.png --sheet F.png

Keys are `<row>.<way>.<figure>`, `<row>.<way>.refined.<figure>` and `<row>.<way>.gain.<figure>`, which is refined minus
plain; see `over_time` for the figures. All rows show the same people in the same scenes from the same noise.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from ..errors import SlotIDError
from ..files import whole_file, write_json
from ..systems.registry import refinement_of
from .long_clips import WAYS, Length, LongStudio, Way
from .metrics import Metrics
from .over_time import CURVES, EVERY, OverTime, differences, flat, summary
from .subjects import subjects_of
from .usage import Usage
from .variants import BASE, FULL, GROUND_TRUTH, STRANGER, Row, chosen_rows

Curves = Mapping[str, Mapping[str, np.ndarray]]
PLAIN, REFINED = "plain", "refined"


def evaluate_long(options) -> None:
    """The command."""
    from tqdm import tqdm

    length = Length(options.frames, options.window, options.overlap)
    ways = ways_of(options.ways)
    rows = long_rows([name for name in options.rows.split(",") if name], options.systems.split(","))
    refiner = refinement_of(options.refinement).load(options.refiner) if options.refiner else None
    usage = Usage(**({} if options.steps is None else {"steps": options.steps}))
    studio = LongStudio(options.adapters, usage, face_encoder=options.face_encoder)
    studio.length = length
    subjects = subjects_of(options.seed, options.identities, 1)
    metrics = Metrics(studio, subjects, options.seed)
    judge = OverTime(metrics.faces, metrics.gallery)
    looks = (4 * length.window - 3 + EVERY - 1) // EVERY
    figures: dict[str, float] = {}
    drawn: dict[str, dict[str, np.ndarray]] = {}
    sheet: dict[str, Tensor] = {}
    for row in rows:
        for studio.way in ways:
            of_kind = {}
            for kind in [PLAIN] if refiner is None else [PLAIN, REFINED]:
                studio.refiner = refiner if kind == REFINED else None
                name = f"{row.name}.{studio.way}" + ("" if kind == PLAIN else f".{REFINED}")
                with tqdm(total=len(subjects), desc=name) as bar:
                    clips = studio.clips(row, subjects, options.seed, bar.update)
                drawn[name], sheet[name] = judge.curves(clips), clips[0, 0]
                of_kind[kind] = summary(drawn[name], looks)
                figures |= flat(name, of_kind[kind])
                print(line(name, figures))
            if refiner is not None:
                name = f"{row.name}.{studio.way}.gain"
                figures |= differences(name, of_kind[REFINED], of_kind[PLAIN])
                print(line(name, figures))
    if options.json:
        write_json(options.json, figures)
    if options.curves:
        save_curves(drawn, options.curves)
        print(options.curves)
    if options.sheet:
        from ..training.samples import save_sheet

        save_sheet(list(sheet.values()), options.sheet, columns=12)
        print(options.sheet)


def ways_of(listed: str) -> list[Way]:
    ways: list[Way] = [way for way in WAYS if way in listed.split(",")]
    unknown = sorted(set(listed.split(",")) - set(WAYS))
    if unknown or not ways:
        raise SlotIDError(f"There is no way {unknown[0] if unknown else listed!r}; there are {', '.join(WAYS)}.")
    return ways


def long_rows(names: list[str], systems: list[str]) -> list[Row]:
    """The rows of these names, by default the base and every system's `full`.

    Raises:
        SlotIDError: a name that no row has, or one that is drawn and not sampled.
    """
    rows = chosen_rows(names or [BASE, FULL], [name for name in systems if name])
    short = [row.name for row in rows if row.name in (GROUND_TRUTH, STRANGER)]
    if short:
        raise SlotIDError(f"{short[0]} is drawn and not sampled, so that it cannot drift. Leave it out of --rows.")
    return rows


def line(name: str, figures: dict[str, float]) -> str:
    shown = ("similarity", "drift.similarity", "consistency", "flicker", "detail", "drift.colour")
    parts = []
    for key in shown:
        low, high = figures[f"{name}.{key}.low"], figures[f"{name}.{key}.high"]
        parts.append(f"{key} {figures[f'{name}.{key}']:.4f} [{low:.4f}, {high:.4f}]")
    return f"toy world  {name:<32} " + "  ".join(parts)


def save_curves(drawn: Curves, path: Path) -> None:
    """A panel for each curve, a line for each row, the mean over people; a refined row is dashed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(CURVES), 1, figsize=(9, 2.3 * len(CURVES)), sharex=True)
    for axis, name in zip(axes, CURVES, strict=True):
        colours: dict[str, str] = {}
        for row, curves in drawn.items():
            values = np.nanmean(curves[name].reshape(-1, curves[name].shape[2])[:, 1:], axis=0)
            base = row.removesuffix(f".{REFINED}")
            (drawn_line,) = axis.plot(
                np.arange(1, len(values) + 1) * EVERY, values, label=row, color=colours.get(base),
                linestyle="-" if base == row else "--",
            )  # fmt: skip
            colours[base] = drawn_line.get_color()
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    axes[-1].set_xlabel("frame")
    figure.tight_layout()
    try:
        with whole_file(path) as unfinished:
            figure.savefig(unfinished, dpi=100)
    finally:
        plt.close(figure)
