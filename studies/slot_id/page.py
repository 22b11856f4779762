"""The study as a page. Every number in it is read from the figures; what is not run says so."""

from slotid_core.toy_world.person import DYNAMICS
from studies.slot_id.figures import FIGURES, LESS_IS_BETTER, WEIGHED, default_key
from studies.slot_id.plan import (
    ABLATION_GROUPS,
    ABLATION_ROWS,
    AS_SHIPPED,
    CLAIMS,
    DEFAULTS,
    MAIN_ROWS,
    MAIN_SEEDS,
    MOVING,
    TRIALS,
    Row,
)
from studies.slot_id.runner import slug

Figures = dict[str, float | str]
OPEN = "not run"

HEADINGS = {
    "similarity": "similarity", "rank1": "first of all", "action": "action", "background": "place",
    "clothes": "clothes", "dynamics": "dynamics r", "dynamics_error": "dynamics error", "marks": "marks AUC",
}  # fmt: skip

INTRODUCTION = """# Does it work, and which parts make it work?

**Every figure on this page is of the toy world**: drawn people, tiny models, judges trained on drawings. It runs the
code that a 14B model runs, and it says nothing about how large an effect is on real people. This page is written by
`python -m slotid_core.evaluation study` from [figures.json](figures.json); no number in it is typed.

## Protocol

- {people} held-out people, whom no training has seen, in {prompts} scenes each; in the last one they look around. All
  rows start from the same noise.
- The reference never comes from the clip to draw: it is {reference} frames in a scene of its own, with a portrait from
  the front on white.
- Adapters are trained on {trained_on} other people, where a row does not name another number. Full budget: {steps}
  steps of {batch} samples, main rows with {seeds} seeds, their clips pooled. Ablations have a third of it, {third}
  steps and one seed, and are compared with a row that has the same.
- Intervals are 95% bootstrap intervals over people; differences are paired, the same people resampled in both rows.
  They cover who is drawn, not what another training seed would have given.
- **similarity**: cosine between the clip's and the person's direction, by a face judge that no adapter was conditioned
  on. **first of all**: the right person is the nearest among all {people}. **action, place, clothes**: the share of
  clips that show what the prompt asks for. **dynamics r**: correlation of the person's own way of moving, as a judge
  estimates it from the clip, with the truth, over the factors that the action shows. **dynamics error**: their mean
  distance as a share of the factor's range; less is better. **marks AUC**: how surely marks that the portrait hides can
  be told from the clip; 0.5 is chance.
- A claim is *held* if the whole interval of the difference is above 0, *not held* if all of it is below {worth}, which
  is less than anybody would pay for, and else *undecided*.
- What is *not run* is open until somebody has the time or a GPU for it: `--rows` and its name make one row, and the
  page anew.

## Limits

- A portrait tells more here than one of a real person: it comes from the front, in even light on white, and shows
  every factor of appearance but the marks. What is found about clips against portraits is the least sure to carry over.
- Nobody's way of moving goes with their face, so that a model cannot guess it.
- Adapters of the rows have learnt for minutes. A part that needs longer to be of use looks useless here. The adapter
  that comes with the pack, of the trials at test time, has learnt for longer.
- Ablations have one training seed; another one might change more than some of these intervals span.
"""

ABOUT_ABLATIONS = """## Ablations

A third of the budget. What is inside the encoder is changed in an adapter that has no portrait, `slots third`: beside
one, which says the same sooner, the clip hardly counts yet. What is about movement is changed where movement is asked
for, and learnt: `movement third`. The first line of a table is that row itself, the others are differences from it.
"""


def page(figures: Figures, pictures: set[str]) -> str:
    """Markdown. `pictures` are the names of the files beside it."""
    protocol = {
        name.removeprefix("protocol."): value for name, value in figures.items() if name.startswith("protocol.")
    }
    parts = [
        INTRODUCTION.format(**protocol, seeds=MAIN_SEEDS),
        claims(figures),
        defaults(figures),
        main_rows(figures) + picture("main.png", pictures) + picture("sheet.jpg", pictures),
        movements(figures),
        ablations(figures, pictures),
        trials(figures, pictures),
        slots(figures) + picture("slots.jpg", pictures),
    ]
    return "\n".join(parts)


def claims(figures: Figures) -> str:
    lines = ["## The paper's claims", "", "| claim | verdict | because |", "|---|---|---|"]
    for claim in CLAIMS:
        key = f"claim.{slug(claim.says)}"
        others = other_people(figures, key, ", ")
        because = [
            f"{HEADINGS[name]} {signed(figures, f'{key}.{name}')} ({figures[f'{key}.rows']}{others})"
            for name in claim.figures
            if f"{key}.{name}" in figures
        ]
        lines.append(f"| {claim.says} | **{figures.get(key, OPEN)}** | {'; '.join(because) or OPEN} |")
    return "\n".join([*lines, ""])


def defaults(figures: Figures) -> str:
    lines = [
        "## What follows for the defaults", "",
        "A default gives way to a value that with confidence is better in similarity or in dynamics r, and worse in",
        "neither, nor in action, in all rows that have it.", "",
        f"| setting | default | instead | {' | '.join(HEADINGS[name] for name in WEIGHED)} | the default |",
        f"|---|---|---|{'---|' * len(WEIGHED)}---|",
    ]  # fmt: skip
    for default in DEFAULTS:
        told = figures.get(default_key(default), OPEN)
        for value, other, row in default.instead:
            cells = [signed(figures, f"{default_key(default, other)}.{name}") for name in WEIGHED]
            if any(cells):
                tried = "" if value == other else f"{value}: "
                pair = f"{tried}`{other}` less `{row}`"
                lines.append(f"| {default.setting} | {default.value} | {pair} | {' | '.join(cells)} | **{told}** |")
        if told == OPEN:
            lines.append(f"| {default.setting} | {default.value} | {OPEN} |{' |' * (len(WEIGHED) + 1)}")
    return "\n".join([*lines, ""])


def main_rows(figures: Figures) -> str:
    told = table(figures, "main", MAIN_ROWS)
    gaps = [
        f"`{row.name}` closes {share(figures, f'main.{slug(row.name)}.gap_closed')}"
        for row in MAIN_ROWS
        if f"main.{slug(row.name)}.gap_closed" in figures
    ]
    sentence = f"Of the similarity between `base` and `ceiling`, {', '.join(gaps)}.\n" if gaps else ""
    return f"""## Rows

`base` is the video model alone, `null` has the LoRA of `full` and no person, `mean_latent` the mean of the reference's
latents instead of slots, `anchor` the portrait only, `slots` the clip only, `ceiling` is a drawing of the person
through the VAE. `movement asked for` is `full` whose training also weighs the error's change from frame to frame, and
reads off the clip's global vector where another clip of the person moves (`objective.change_weight`,
`objective.movement_weight`).

{told}
{sentence}"""


def movements(figures: Figures) -> str:
    keys = {row.name: f"main.{slug(row.name)}" for row in MAIN_ROWS}
    for row in MOVING:
        name = row.name if row == AS_SHIPPED else f"{AS_SHIPPED.name}, {row.name}"
        keys[name] = f"trial.{slug(row.name)}"
    factors = [f for f in DYNAMICS if any(f"{key}.{f}" in figures for key in keys.values())]
    if not factors:
        return ""
    lines = [
        "## How somebody moves", "",
        "Correlation of each factor of a person's way of moving, over the clips whose action shows it. The last rows",
        "are of the adapter that comes with the pack, given all of the face clip, less of it, or all of it shuffled.",
        "",
        f"| row | {' | '.join(name.replace('_', ' ') for name in factors)} |", f"|---{'|---' * len(factors)}|",
    ]  # fmt: skip
    for name, key in keys.items():
        cells = [figure(figures, f"{key}.{factor}") for factor in factors]
        if any(cells):
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def ablations(figures: Figures, pictures: set[str]) -> str:
    lines = [ABOUT_ABLATIONS]
    for first, *others in ABLATION_GROUPS:
        lines += [heading("row"), f"|---{'|---' * len(FIGURES)}|"]
        lines.append(line(first.name, [figure(figures, f"ablation.{slug(first.name)}.{name}") for name in FIGURES]))
        for row in others:
            cells = [signed(figures, f"ablation.{slug(row.name)}.{name}.difference") for name in FIGURES]
            lines.append(line(row.name, cells))
        plot, sheet = (f"ablations_{slug(first.name)}.png", f"sheet_ablations_{slug(first.name)}.jpg")
        lines += [picture(plot, pictures), picture(sheet, pictures)]
    return "\n".join(lines)


def trials(figures: Figures, pictures: set[str]) -> str:
    lines = [
        "## At test time only", "",
        "The adapter that comes with the pack, used in other ways. Nothing here was trained for it.", "",
    ]  # fmt: skip
    for group, rows in TRIALS.items():
        told = table(figures, "trial", (AS_SHIPPED, *rows))
        plot, sheet = (picture(name, pictures) for name in (f"trial_{slug(group)}.png", f"sheet_{slug(group)}.jpg"))
        lines += [f"### {group.capitalize()}", "", told + plot + sheet]
    return "\n".join(lines)


def slots(figures: Figures) -> str:
    names = ("entropy", "cosine", "change")
    lines = [
        "## What slots do", "",
        "*entropy* of the slot given the patch, as a share of the most there can be; *cosine* between two slots'",
        "tokens; *change*, how much of a patch's assignment goes to other slots from one latent frame to the next.",
        "Mass per slot says nothing: Sinkhorn fixes it. The picture is of the adapter that comes with the pack: a",
        "reference in four latent frames, and in a column a slot where each reads.", "",
        "| row | entropy | cosine | change |", "|---|---|---|---|",
    ]  # fmt: skip
    for row in (*MAIN_ROWS, *ABLATION_ROWS):
        cells = [figure(figures, f"slots.{slug(row.name)}.{name}") for name in names]
        if any(cells):
            lines.append(line(row.name, cells))
    return "\n".join([*lines, ""])


def table(figures: Figures, part: str, rows: tuple[Row, ...]) -> str:
    lines = [heading("row"), f"|---{'|---' * len(FIGURES)}|"]
    for row in rows:
        cells = [figure(figures, f"{part}.{slug(row.name)}.{name}") for name in FIGURES]
        lines.append(line(row.name + apart(figures, f"{part}.{slug(row.name)}", row), cells))
    return "\n".join([*lines, ""])


def apart(figures: Figures, key: str, row: Row) -> str:
    """What is said beside the name of a row that is not as the protocol says."""
    made, people = figures.get(f"{key}.seeds", row.seeds), other_people(figures, key)
    said = [f"{made} of {row.seeds} seeds"] if made != row.seeds else []
    said += [people] if people else []
    return f" ({', '.join(said)})" if said else ""


def other_people(figures: Figures, key: str, separator: str = "") -> str:
    people = figures.get(f"{key}.trained_on")
    return "" if people in (None, figures["protocol.trained_on"]) else f"{separator}trained on {people} people"


def heading(first: str) -> str:
    names = [f"{HEADINGS[name]}{' ↓' if name in LESS_IS_BETTER else ''}" for name in FIGURES]
    return f"| {first} | {' | '.join(names)} |"


def line(name: str, cells: list[str]) -> str:
    if not any(cells):
        cells = [OPEN, *cells[1:]]
    return f"| {name} | {' | '.join(cells)} |"


def figure(figures: Figures, key: str) -> str:
    if key not in figures:
        return ""
    return f"{figures[key]:.3f} [{figures[f'{key}.low']:.3f}, {figures[f'{key}.high']:.3f}]"


def signed(figures: Figures, key: str) -> str:
    if key not in figures:
        return ""
    return f"{figures[key]:+.3f} [{figures[f'{key}.low']:+.3f}, {figures[f'{key}.high']:+.3f}]"


def share(figures: Figures, key: str) -> str:
    return f"{figures[key]:.0%} [{figures[f'{key}.low']:.0%}, {figures[f'{key}.high']:.0%}]"


def picture(name: str, pictures: set[str]) -> str:
    return f"\n![{name}]({name})\n" if name in pictures else ""
