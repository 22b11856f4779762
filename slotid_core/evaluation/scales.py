"""Text scale × identity scale, in both orders of guidance: what likeness costs in prompt figures, as a map.

    python -m slotid_core.evaluation scales --text-scales 1,2.5,4 --identity-scales 1,2.5,4 --json F --map F.png

Every point shows the same people in the same scenes from the same noise.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..errors import SlotIDError
from ..files import whole_file, write_json
from ..wan.guidance import ORDERS, GuidanceOrder, passes
from .metrics import Metrics, summarize
from .studio import Studio
from .subjects import Subject, subjects_of
from .usage import Usage
from .variants import FULL, Row, chosen_rows

PROMPT = ("action", "background", "clothes")  # figures of what the prompt asks for; "prompt" is their mean
SHOWN = ("similarity", "prompt")
CELL, LABEL, GAP = 64, 56, 24  # pixels of the picture
LOW, HIGH = (245, 245, 240), (20, 80, 160)  # colours of the least and the largest value of a map


@dataclass(frozen=True)
class Point:
    """One usage of the grid. `key` is its part of the names of its figures."""

    text: float
    identity: float
    order: GuidanceOrder

    @property
    def key(self) -> str:
        return f"{self.order.replace(' ', '_')}.text_{self.text:g}.identity_{self.identity:g}"


def evaluate_scales(options) -> None:
    """The command."""
    from tqdm import tqdm

    points = grid(scales_of(options.text_scales), scales_of(options.identity_scales))
    usage = Usage(**({} if options.steps is None else {"steps": options.steps}))
    studio = Studio(options.adapters, usage, face_encoder=options.face_encoder)
    subjects = subjects_of(options.seed, options.identities, options.prompts)
    metrics = Metrics(studio, subjects, options.seed)
    rows = chosen_rows([FULL], [name for name in options.systems.split(",") if name])
    figures: dict[str, float] = {}
    for row in rows:
        with tqdm(total=number_drawn(points) * len(subjects) * options.prompts, desc=row.name) as bar:
            for point, values in measured(studio, metrics, row, subjects, options.seed, points, bar.update):
                figures |= flat(row, point, values)
        for point in points:
            shown = "  ".join(f"{name} {figures[f'{row.name}.{point.key}.{name}']:.3f}" for name in SHOWN)
            print(f"toy world  {row.name}.{point.key:<40} {shown}")
        if options.map:
            path = options.map if len(rows) == 1 else options.map.with_stem(f"{options.map.stem}_{row.system}")
            save_map(figures, row, points, path)
            print(path)
    if options.json:
        write_json(options.json, figures)


def number_drawn(points: Sequence[Point]) -> int:
    """How many of the points are drawn; see `measured`."""
    equal = {point.text for point in points if point.text == point.identity}
    return len(equal) + sum(point.text != point.identity for point in points)


def grid(text_scales: Sequence[float], identity_scales: Sequence[float]) -> list[Point]:
    return [
        Point(text, identity, order) for order in ORDERS for text in text_scales for identity in identity_scales
    ]  # fmt: skip


def scales_of(listed: str) -> list[float]:
    """ "1,2.5,4" -> [1.0, 2.5, 4.0], in order.

    Raises:
        SlotIDError: not numbers from 0 to 30.
    """
    try:
        scales = sorted({float(part) for part in listed.split(",") if part})
    except ValueError:
        scales = []
    if not scales or not all(0 <= scale <= 30 for scale in scales):
        raise SlotIDError(f"Scales are numbers from 0 to 30, such as 1,2.5,4; got {listed!r}.")
    return scales


def measured(
    studio: Studio, metrics: Metrics, row: Row, subjects: list[Subject], seed: int, points: Sequence[Point],
    progress: Callable | None = None,
) -> Iterator[tuple[Point, dict[str, np.ndarray]]]:  # fmt: skip
    """The figures of each point. Equal scales are the same in both orders, and drawn once."""
    drawn: dict[tuple[float, float], dict[str, np.ndarray]] = {}
    usage = studio.usage
    for point in points:
        equal = (point.text, point.identity) if point.text == point.identity else None
        if equal is None or equal not in drawn:
            values = metrics.measure(clips_at(studio, row, subjects, seed, usage, point, progress))
            values["prompt"] = np.mean([values[name] for name in PROMPT], axis=0)
            if equal is not None:
                drawn[equal] = values
        else:
            values = drawn[equal]
        yield point, values


def clips_at(
    studio: Studio, row: Row, subjects: list[Subject], seed: int, usage: Usage, point: Point,
    progress: Callable | None = None,
) -> Tensor:  # fmt: skip
    """As `Studio.clips`, at other scales."""
    at_point = replace(usage, text_scale=point.text, identity_scale=point.identity, order=point.order)
    return studio.clips(row, subjects, seed, progress, at_point)


def flat(row: Row, point: Point, values: dict[str, np.ndarray]) -> dict[str, float]:
    """`<system>.<variant>.<order>.text_<a>.identity_<b>.<figure>`, and how many passes a step takes."""
    name = f"{row.name}.{point.key}"
    return summarize(name, values) | {f"{name}.passes": passes(point.text, point.identity)}


def save_map(figures: dict[str, float], row: Row, points: Sequence[Point], path: Path) -> None:
    """A heat map of each figure of `SHOWN` in each order: text scale to the right, identity scale upwards."""
    texts, identities = (sorted({getattr(point, name) for point in points}) for name in ("text", "identity"))
    width, height = LABEL + CELL * len(texts) + GAP, LABEL + CELL * len(identities) + GAP
    picture = Image.new("RGB", (width * len(SHOWN), height * len(ORDERS)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for across, figure in enumerate(SHOWN):
        values = [figures[f"{row.name}.{point.key}.{figure}"] for point in points]
        least, spread = min(values), max(max(values) - min(values), 1e-9)
        for point, value in zip(points, values, strict=True):
            left = across * width + LABEL + CELL * texts.index(point.text)
            down = len(identities) - 1 - identities.index(point.identity)
            top = ORDERS.index(point.order) * height + GAP + CELL * down
            share = (value - least) / spread
            colour = tuple(round(low + share * (high - low)) for low, high in zip(LOW, HIGH, strict=True))
            draw.rectangle((left, top, left + CELL - 2, top + CELL - 2), fill=colour)
            draw.text((left + 12, top + 24), f"{value:.3f}", fill="white" if share > 0.5 else "black", font=font)
        for down, order in enumerate(ORDERS):
            x, y = across * width, down * height
            draw.text((x + LABEL, y + 4), f"{figure}, {order}", fill="black", font=font)
            draw.text((x + LABEL, y + height - 18), "text scale", fill="black", font=font)
            for place, scale in enumerate(texts):
                draw.text((x + LABEL + CELL * place + 22, y + height - 34), f"{scale:g}", fill="black", font=font)
            for place, scale in enumerate(reversed(identities)):
                draw.text((x + 4, y + GAP + CELL * place + 24), f"id {scale:g}", fill="black", font=font)
    with whole_file(path) as unfinished:
        picture.save(unfinished)
