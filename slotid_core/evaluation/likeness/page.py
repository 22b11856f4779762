"""Results for people: a table in Markdown, and a page with a curve of every video that needs nothing beside itself."""

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...files import write_text
from .colours import COLOURS
from .face_scores import FACE_FIGURES
from .face_sets import FACE_FID, FACE_FRECHET, FACE_SET_FIGURES
from .frame_scores import FRAME_FIGURES
from .networks import NETWORK_FIGURES
from .results import Result

SHOWN = ("likeness", "similarity", "detected", "with_missing", "opens2v", "worst", "drift")
WIDTH, HEIGHT = 420, 110
STYLE = """body{font:15px system-ui,sans-serif;margin:2em;max-width:1100px;color:#222;background:#fff}
table{border-collapse:collapse}td,th{padding:.25em .7em;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}figure{display:inline-block;margin:.6em;vertical-align:top}
figcaption{font-size:13px;max-width:420px}.bad{color:#a33}"""


def table(figures: dict[str, float]) -> tuple[list[str], list[list[str]]]:
    """Column heads and rows: what is shown of each row of videos, with its interval."""
    rows = [key.removesuffix(".videos") for key in figures if key.endswith(".videos")]
    names = []
    for row in rows:
        for key in figures:
            name = key.removeprefix(f"{row}.")
            if key.startswith(f"{row}.") and name.split(".")[-1] in SHOWN and f"{key}.low" in figures:
                names.append(name)
    names = list(dict.fromkeys(names))
    lines = []
    for row in rows:
        cells = [row, f"{figures[f'{row}.videos']:g}"]
        for name in names:
            key = f"{row}.{name}"
            value = figures.get(key, float("nan"))
            cells.append(
                "–" if np.isnan(value) else f"{value:.3f} [{figures[f'{key}.low']:.3f}, {figures[f'{key}.high']:.3f}]"
            )
        lines.append(cells)
    return ["row", "videos", *names], lines


def face_sets(figures: dict[str, float]) -> list[tuple[str, float, float, float]]:
    """Name, Fréchet distance, and the numbers of faces that it is of."""
    names = [key for key in figures if key.rsplit(".", 1)[-1] in (FACE_FID, FACE_FRECHET)]
    return [(n, figures[n], figures[f"{n}.faces"], figures[f"{n}.reference_faces"]) for n in names]


def markdown(figures: dict[str, float], described: dict[str, str], missing: dict[str, str]) -> str:
    head, rows = table(figures)
    lines = ["# Likeness of videos", "", "95% intervals are over people.", ""]
    lines += ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    sets = face_sets(figures)
    if sets:
        lines += ["", "Faces of a row together against those of its references; it falls with the number of faces.", "",
                  "| figure | value | faces | references' faces |", "|---|---|---|---|"]  # fmt: skip
        lines += [f"| {name} | {value:.4f} | {faces:g} | {of:g} |" for name, value, faces, of in sets]
    lines += ["", "## Recognisers", ""] + [f"- `{name}`: {text}" for name, text in described.items()]
    if any(name.startswith("conditioned.") for name in head):
        lines.append("- `conditioned.…`: the video was made from this network's embedding, so its figure says how well "
            "a "
                     "condition was copied. It is in no mean.")  # fmt: skip
    if missing:
        lines += ["", "## Not measured", ""] + [f"- `{name}`: {why}" for name, why in missing.items()]
    lines += ["", "## What the figures mean", ""]
    lines += [f"- `{name}`: {text}" for name, text in FACE_FIGURES.items()]
    lines += [f"- `frames.{name}`: {text}" for name, text in FRAME_FIGURES.items()]
    lines += [f"- `video.{name}`: {text}" for name, text in NETWORK_FIGURES.items()]
    lines += [f"- `{name}`: {text}" for name, text in FACE_SET_FIGURES.items()]
    return "\n".join(lines) + "\n"


def write_page(
    path: Path, figures: dict[str, float], results: Sequence[Result], described: dict[str, str], missing: dict[str, str]
) -> None:
    head, rows = table(figures)
    parts = [f"<!doctype html><meta charset='utf-8'><title>Likeness of videos</title><style>{STYLE}</style>"]
    parts.append("<h1>Likeness of videos</h1><p>95% intervals are over people.</p>")
    parts.append(_html_table(head, rows))
    if sets := face_sets(figures):
        lines = [[name, f"{value:.4f}", f"{faces:g}", f"{of:g}"] for name, value, faces, of in sets]
        parts.append(_html_table(["faces of a row together", "value", "faces", "references' faces"], lines))
    parts.append("<ul>" + "".join(f"<li><b>{_t(n)}</b>: {_t(d)}</li>" for n, d in described.items()) + "</ul>")
    if missing:
        parts.append(
            "<h2>Not measured</h2><ul>" + "".join(f"<li><b>{_t(n)}</b>: {_t(w)}</li>" for n, w in missing.items())
        )
        parts.append("</ul>")
    parts.append("<h2>Videos</h2><p>The curve is the cosine of the face and the person, frame by frame; gaps are "
        "frames "
                 "without a face.</p>")  # fmt: skip
    for result in results:
        suspects = "; ".join(f"{what}: frames {spans(frames)}" for what, frames in result.suspects.items())
        caption = f"<b>{_t(result.job.row)} · {_t(result.job.video.name)}</b>"
        caption += f"<br><span class='bad'>{_t(suspects)}</span>" if suspects else ""
        parts.append(f"<figure>{curve_svg(result)}<figcaption>{caption}</figcaption></figure>")
    write_text(path, "\n".join(parts) + "\n")


def curve_svg(result: Result) -> str:
    """Cosines from -0.2 to 1 over frames, a line for each recogniser and person."""
    curves = {name: curve for name, curve in result.curves.items() if not name.startswith("frames.")}
    last = max((curve["frame"][-1] for curve in curves.values()), default=1) or 1
    parts = [f"<svg width='{WIDTH}' height='{HEIGHT}' role='img' viewBox='0 0 {WIDTH} {HEIGHT}'>"]
    for level in (0.0, 0.5, 1.0):
        y = _y(level)
        parts.append(f"<line x1='30' x2='{WIDTH}' y1='{y:.1f}' y2='{y:.1f}' stroke='#ddd'/>")
        parts.append(f"<text x='2' y='{y + 4:.1f}' font-size='11'>{level:g}</text>")
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        pieces: list[list[str]] = [[]]
        for frame, value in zip(curve["frame"], curve["cosine"], strict=True):
            if value is None:
                pieces.append([])
            else:
                pieces[-1].append(f"{30 + (WIDTH - 35) * frame / last:.1f},{_y(value):.1f}")
        for piece in pieces:
            if len(piece) == 1:
                x, y = piece[0].split(",")
                parts.append(f"<circle cx='{x}' cy='{y}' r='1.5' fill='{colour}'/>")
            elif piece:
                parts.append(f"<polyline fill='none' stroke='{colour}' stroke-width='1.5' points='{' '.join(piece)}'/>")
        parts.append(f"<text x='{34 + number * 130}' y='{HEIGHT - 3}' font-size='11' fill='{colour}'>{_t(name)}</text>")
    return "".join(parts) + "</svg>"


def spans(frames: Sequence[int]) -> str:
    """[3, 4, 5, 9] -> "3-5, 9"."""
    found: list[list[int]] = []
    for frame in frames:
        if found and frame == found[-1][1] + 1:
            found[-1][1] = frame
        else:
            found.append([frame, frame])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in found)


def _y(value: float) -> float:
    return 6 + (HEIGHT - 26) * (1.0 - min(1.0, max(-0.2, value))) / 1.2


def _html_table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["".join(f"<th>{_t(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{_t(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _t(text: str) -> str:
    return html.escape(str(text))
