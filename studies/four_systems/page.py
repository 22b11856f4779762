"""The page and its short form in README. Every number is read from the result files; what has none says so."""

from pathlib import Path

from PIL import Image, ImageDraw

from slotid_core.evaluation.variants import FULL
from slotid_core.files import whole_file, write_json, write_text
from slotid_core.toy_world.person import DYNAMICS
from studies.four_systems.figures import LONG, Figures, figures_of, read_results, undecided
from studies.four_systems.lynx_parts import verdicts
from studies.four_systems.plan import (
    BATCH,
    DESCRIBED_STEPS,
    DESCRIBED_WEIGHT,
    MODEL_NAMES,
    NOT_BUILT,
    PEOPLE,
    PROMPTS,
    ROWS,
    SHEET,
    STEPS,
    TIMESTEP_SHIFT,
    TRAINING_SEEDS,
    Row,
)
from studies.four_systems.results import file_of

NOT_MEASURED = "not measured"
BEGIN, END = "<!-- four systems: begin -->", "<!-- four systems: end -->"
INTRODUCTION = """# Four systems in one table

**Every figure on this page is a toy-world figure**: drawn people, tiny models, judges trained on drawings. All systems
learn from the same people and clips, on the same model, for the same number of samples, and are judged by the same
networks, which share nothing with what conditions them. `python -m studies.four_systems` makes what is missing, and
writes this page from the files in `docs/four_systems/results`. No number on it is typed.
"""
PROTOCOL = """
- Budget: {steps} steps of {batch} samples. Where a part is trained before (Lynx's resampler), that comes on top.
- Objective: flow matching at a timestep shift of {shift:g}. What the model says for a caption that describes the person
  is a second target; its weight of {described:g} falls to 0 over the first {described_steps:.0%} of the steps.
- {people} held-out people in {prompts} scenes each, whose actions are balanced. Intervals are 95%, over people.
- Up to {seeds} training seeds; figures are means over those that are there.
- **similarity**: cosine of the face judge with the person. **closed**: of the gap between the model alone and the
  person drawn. **rank-1**: the nearest of all people is the right one. **action, background, clothes**: what the
  prompt asks for is shown. **copying**: 0, the person drawn anew, to 1, the reference picture itself.
"""


def write_page(results_folder: Path, folder: Path, readme: Path | None) -> Figures:
    results, facts = read_results(results_folder)
    figures = figures_of(results)
    decided, still_open = undecided(results, figures)
    folder.mkdir(parents=True, exist_ok=True)
    sheet = save_sheet(results_folder, folder / "sheet.jpg")
    write_json(folder / "figures.json", figures)
    write_text(folder / "README.md", page(figures, facts, decided, still_open, verdicts(results), sheet))
    if readme is not None and readme.is_file():
        text = readme.read_text(encoding="utf-8")
        changed = with_short_form(text, short_form(figures, sheet))
        if changed != text:
            write_text(readme, changed)
    return figures


def page(
    figures: Figures, facts: dict[str, dict], decided: list[str], still_open: list[str], parts: list[str],
    sheet: list[Row],
) -> str:  # fmt: skip
    toy = facts.get("toy", {})
    planned = {"steps": STEPS, "batch": BATCH, "people": PEOPLE, "prompts": PROMPTS}
    objective = {"shift": TIMESTEP_SHIFT, "described": DESCRIBED_WEIGHT, "described_steps": DESCRIBED_STEPS}
    protocol = PROTOCOL.format(
        seeds=TRAINING_SEEDS, **objective, **{name: toy.get(name, value) for name, value in planned.items()}
    )
    lines = [INTRODUCTION, "## Protocol", protocol, "## Likeness and prompts", "", *likeness(figures), ""]
    if sheet:
        lines += [f"![{', '.join(row.title for row in sheet)}: eight people, three frames each](sheet.jpg)", ""]
    lines += ["## Movement, by factor", "", *movement(figures), ""]
    lines += ["## Long videos", "", *long_videos(figures, facts.get("long", {})), ""]
    lines += ["## Cost", "", *costs(figures), ""]
    lines += ["## Which is more like the person", "", *(f"- {text}" for text in decided or ["Nothing is decided yet."])]
    lines += ["", "## What each of Lynx's adapters does", ""]
    lines += [*(f"- {text}" for text in parts or [f"Its ablation is {NOT_MEASURED}."])]
    lines += ["", "## Undecided, or not measured", "", *(f"- {text}" for text in [*still_open, *NOT_BUILT])]
    missing = [row.title for row in ROWS if not any(f"{part}.{row.name}.seeds" in figures for part in row.parts)]
    lines += [f"- Rows without a measurement: {', '.join(missing)}."] if missing else []
    return "\n".join([*lines, ""])


def measured_in(part: str) -> list[Row]:
    return [row for row in ROWS if part in row.parts]


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def cell(figures: Figures, key: str, form: str = ".3f") -> str:
    if key not in figures or figures[key] != figures[key]:
        return ""
    if f"{key}.low" not in figures:
        return format(figures[key], form)
    return f"{figures[key]:{form}} [{figures[f'{key}.low']:{form}}, {figures[f'{key}.high']:{form}}]"


def line(figures: Figures, row: Row, part: str, cells: list[str]) -> list[str]:
    seeds = int(figures.get(f"{part}.{row.name}.seeds", 0))
    if not seeds:
        return [row.title, NOT_MEASURED, *[""] * (len(cells) - 1)]
    few = f" ({seeds} of {row.seeds} seeds)" if seeds < row.seeds and part != "cost" else ""
    return [row.title + few, *cells]


def likeness(figures: Figures) -> list[str]:
    names = ("similarity", "gap_closed", "rank1", "action", "background", "clothes", "copying", "marks")
    head = ["", "similarity", "closed", "rank-1", "action", "background", "clothes", "copying", "hidden marks"]
    rows = []
    for row in measured_in("toy"):
        cells = [cell(figures, f"toy.{row.name}.{n}", ".0%" if n == "gap_closed" else ".3f") for n in names]
        rows.append(line(figures, row, "toy", cells))
    return table(head, rows)


def movement(figures: Figures) -> list[str]:
    names = [name.replace("_", " ") for name in DYNAMICS]
    rows = [
        line(figures, row, "toy", [cell(figures, f"toy.{row.name}.dynamics.{name}") for name in DYNAMICS])
        for row in measured_in("toy")
    ]
    return ["Correlation of the person's movement factors with those that a judge estimates from the clip.", "",
            *table(["", *names], rows)]  # fmt: skip


def long_videos(figures: Figures, facts: dict) -> list[str]:
    told = (
        f"{facts['frames']} latent frames by chained extension, of {facts['people']} people. Drift is of the last "
        "piece against the first."
        if facts
        else f"By chained extension: {NOT_MEASURED}."
    )
    rows = [
        line(figures, row, "long", [cell(figures, f"long.{row.name}.{name}") for name in LONG])
        for row in measured_in("long")
    ]  # fmt: skip
    return [told, "", *table(["", *(name.replace("drift.similarity", "drift") for name in LONG)], rows)]


def costs(figures: Figures) -> list[str]:
    rows = []
    for row in measured_in("cost"):
        key = f"cost.{row.name}."
        if not row.system:
            rows.append(line(figures, row, "cost", [cell(figures, f"{key}seconds"), "1", "", "", ""]))
            continue
        megabytes = [
            figures.get(f"{key}{name}", float("nan")) / 1e6 for name in ("training_bytes", "parameters", "bytes")
        ]
        cells = ["", cell(figures, f"{key}sampling_ratio", ".2f"), *(f"{value:.2f}" for value in megabytes)]
        rows.append(line(figures, row, "cost", cells))
    head = ["", "seconds a prediction", "times that with a person", "MB kept in a training step", "million parameters",
            "MB of the file"]  # fmt: skip
    note = (
        "Of the toy model, a sample, on the CPU that measured it; only ratios carry over. At the width of Wan 14B: "
        f"{NOT_MEASURED} here; `make bench` has what a system adds to a step."
    )
    return [note, "", *table(head, rows)]


def save_sheet(results: Path, path: Path) -> list[Row]:
    """The rows that are there side by side, eight people; none where nothing has been drawn."""
    by_name = {row.name: row for row in ROWS}
    shown = [(by_name[name], file_of(results, "toy", name, 0).with_suffix(".jpg")) for name in SHEET]
    shown = [(row, file) for row, file in shown if file.is_file()]
    if not shown:
        return []
    pictures = [Image.open(file).convert("RGB") for _, file in shown]
    margin, label = 8, 18
    width, height = sum(one.width + margin for one in pictures) + margin, max(one.height for one in pictures)
    sheet = Image.new("RGB", (width, height + label + 2 * margin), "white")
    draw, x = ImageDraw.Draw(sheet), margin
    for (row, _), picture in zip(shown, pictures, strict=True):
        draw.text((x, margin // 2), row.title, fill="black")
        sheet.paste(picture, (x, label + margin))
        x += picture.width + margin
    with whole_file(path) as unfinished:
        sheet.save(unfinished, quality=88)
    return [row for row, _ in shown]


def short_form(figures: Figures, sheet: list[Row]) -> str:
    """A few lines for README; nothing while no system has been measured."""
    measured = [row for row in ROWS if row.variant == FULL and f"toy.{row.name}.similarity" in figures]
    if not measured:
        return ""
    shown = [row for row in ROWS if row in measured or (not row.system and f"toy.{row.name}.similarity" in figures)]
    rows = []
    for row in shown:
        names = (("similarity", ".3f"), ("gap_closed", ".0%"), ("rank1", ".2f"), ("action", ".2f"))
        rows.append([row.title, *(plain(figures, f"toy.{row.name}.{name}", form) for name, form in names)])
    lines = ["## Four systems at one budget, in the toy world", ""]
    lines += table(["", "similarity", "closed", "rank-1", "action"], rows)
    unmeasured = [title for name, title in MODEL_NAMES.items() if f"toy.{name}.{FULL}.similarity" not in figures]
    if unmeasured:
        lines += ["", f"Not measured yet: {', '.join(unmeasured)}."]
    if sheet:
        lines += ["", "![Eight people](docs/four_systems/sheet.jpg)"]
    return "\n".join([*lines, "", "[All rows, intervals and the command](docs/four_systems/README.md)"])


def plain(figures: Figures, key: str, form: str) -> str:
    return format(figures[key], form) if key in figures else ""


def with_short_form(readme: str, short: str) -> str:
    """README with what stands between its two marks replaced; as it was where there is nothing to say or no mark."""
    if not short or BEGIN not in readme or END not in readme:
        return readme
    before, rest = readme.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    return f"{before}{BEGIN}\n{short}\n{END}{after}"
