"""A page about a run, to be opened in any browser while it goes: how far it is, its curves, its figures, its samples.

It is one file beside the pictures that the run writes anyway, loads nothing from elsewhere, and loads itself anew every
minute. Nothing serves it: it may lie on a disk that is shared, or be copied.
"""

import html
import json
import statistics
from pathlib import Path

from ..files import write_text

NAME = "run.html"
SHEETS = 4  # of samples, the newest
RECENT = 200  # steps whose median is the pace
STYLE = (
    "body{font:15px system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222;background:#fafafa}"
    "img{max-width:100%;border:1px solid #ccc}table{border-collapse:collapse}"
    "td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:right}"
    "th:first-child,td:first-child{text-align:left}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}td,th,img{border-color:#444}}"
)


def write_page(folder: Path, steps: int, state: str) -> Path:
    """Write the page of a run into its folder.

    Args:
        steps: of the whole run.
        state: a word for how it is, such as "training".
    """
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    trained = [row for row in rows if "loss" in row]
    checks = [row for row in rows if "validation_loss" in row]
    done = trained[-1]["step"] + 1 if trained else 0
    parts = [
        f"<h1>{html.escape(folder.name)}</h1>",
        f"<p>{state}: step {done:,} of {steps:,}{left(trained, steps)}</p>",
    ]
    if (folder / "loss.png").exists():
        parts += ["<h2>Loss</h2>", picture("loss.png", done, "Loss over steps, and of validations by noise level")]
    if checks:
        parts += ["<h2>Last validations</h2>", table(checks[-3:])]
    sheets = sorted(folder.glob("samples_*.png"))[-SHEETS:]
    for sheet in reversed(sheets):
        step = int(sheet.stem.split("_")[1])
        parts += [f"<h2>Samples after step {step:,}</h2>", picture(sheet.name, step, "References, and samples below")]
    body = "\n".join(parts)
    page = folder / NAME
    write_text(
        page,
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="60">'
        f"<title>{done:,} of {steps:,} · {html.escape(folder.name)}</title><style>{STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n",
    )
    return page


def left(trained: list[dict], steps: int) -> str:
    """How fast the run is, and how long it would go on like this."""
    seconds = [row["seconds"] for row in trained[-RECENT:] if "seconds" in row]
    if not seconds:
        return ""
    pace = statistics.median(seconds)
    minutes = pace * max(0, steps - trained[-1]["step"] - 1) / 60
    days, minutes = divmod(minutes, 24 * 60)
    hours, minutes = divmod(minutes, 60)
    long = f"{days:.0f} d {hours:.0f} h" if days else f"{hours:.0f} h {minutes:.0f} min"
    return f", {pace:.2f} seconds a step, {long} to go"


def table(checks: list[dict]) -> str:
    """A column for each validation, a row for each figure."""
    names = [name for name in checks[-1] if name != "step"]
    head = "".join(f"<th>after step {row['step'] + 1:,}</th>" for row in checks)
    lines = [
        f"<tr><td>{html.escape(name.replace('_', ' '))}</td>"
        + "".join(f"<td>{row[name]:.4g}</td>" if name in row else "<td></td>" for row in checks)
        + "</tr>"
        for name in names
    ]
    return f"<table><tr><th></th>{head}</tr>{''.join(lines)}</table>"


def picture(name: str, step: int, alt: str) -> str:
    """The step makes a browser load a picture that has changed."""
    return f'<p><img src="{html.escape(name)}?{step}" alt="{html.escape(alt)}"></p>'
