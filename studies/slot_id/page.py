"""The page of the study. Every number in it is read from the figures; a row without figures is marked as not run."""

from slotid_core.toy_world.person import DYNAMICS
from studies.slot_id.figures import DECISIVE, LOWER_IS_BETTER, METRICS, default_key, difference_of
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
    "similarity": "similarity", "rank1": "rank-1", "action": "action", "background": "background",
    "clothes": "clothes", "dynamics": "dynamics r", "dynamics_error": "dynamics error", "marks": "marks AUC",
}  # fmt: skip

INTRODUCTION = """# Slot-ID in the toy world: does it work, and which of its parts matter?

**Every figure on this page is a toy-world figure**: rendered people, tiny models, and judge networks trained on
renderings. The code is the code that a 14B model runs. The figures do not say how large an effect is on real people.
`python -m studies.slot_id` writes this page from [figures.json](figures.json). No number on it is typed by hand.

## Protocol

- There are {people} held-out identities with {prompts} scenes each. In the last scene the person looks around.
- All rows start from the same noise.
- The reference is never the clip to generate. It has {reference} frames of another scene, and a frontal portrait on
  white.
- Adapters are trained on {trained_on} other people, unless a row states another number.
- The full budget is {steps} steps of {batch} samples. Main rows have {seeds} training seeds, and their clips are
  pooled. Ablations have a third of the budget, {third} steps, and one seed. They are compared with a row of the same
  budget.
- Intervals are 95% bootstrap intervals over identities. Differences are paired: both rows are resampled with the same
  identities. Intervals cover the choice of identities. They do not cover the choice of the training seed.
- A claim is *held* if the whole interval of the difference is above 0. It is *not held* if the whole interval is below
  {smallest_effect}, the smallest effect of interest. Otherwise it is *undecided*.
- A row that is *not run* has not been trained. `--rows` with its name makes that row and rewrites the page.

## Metrics

- **similarity**: cosine between the face embedding of the clip and that of the person. The face judge is a network that
  no adapter was conditioned on.
- **rank-1**: share of clips whose nearest identity among all {people} is the right one.
- **action, background, clothes**: share of clips that show what the prompt asks for.
- **dynamics r**: correlation between the person's movement factors and those that a judge estimates from the clip, over
  the factors that the action shows.
- **dynamics error**: mean absolute error of these estimates, as a share of the factor's range. Lower is better.
- **marks AUC**: area under the ROC curve for marks that the portrait hides, detected in the clip. Chance is 0.5.

## Limits

- A portrait carries more information here than a portrait of a real person. It is frontal and evenly lit on white, and
  it shows every factor of appearance except the marks. Results about clips against portraits may not transfer.
- Movement is independent of appearance. A model cannot infer it from the face.
- The adapters of the rows are trained for minutes. A part that needs more training shows no effect here. The shipped
  adapter, which the trials at test time use, is trained for longer.
- Ablations have one training seed. Another seed may change a result by more than its interval.
"""

ABOUT_ABLATIONS = """## Ablations

All ablations have a third of the budget. In each table the first line gives the metrics of the baseline, and the other
lines give differences from it. There are three baselines:

- `full third` has a clip and a portrait.
- `slots third` has no portrait. Changes inside the clip's encoder are made here, because the portrait is learnt faster
  and hides the effect of the clip at this budget.
- `movement third` is trained with the movement objective. Changes that concern movement are made here.
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
    lines = ["## The paper's claims", "", "| claim | verdict | evidence |", "|---|---|---|"]
    for claim in CLAIMS:
        key = f"claim.{slug(claim.statement)}"
        others = other_people(figures, key, ", ")
        evidence = [
            f"{HEADINGS[name]} {signed(figures, f'{key}.{name}')} ({figures[f'{key}.rows']}{others})"
            for name in claim.metrics
            if f"{key}.{name}" in figures
        ]
        lines.append(f"| {claim.statement} | **{figures.get(key, OPEN)}** | {'; '.join(evidence) or OPEN} |")
    return "\n".join([*lines, ""])


def defaults(figures: Figures) -> str:
    lines = [
        "## Consequences for the defaults", "",
        "A default gives way to another value under two conditions. One row with that value is better in similarity",
        "or dynamics r, with confidence. No row with that value is worse in similarity, dynamics r or action, with",
        "confidence.",
        "",
        f"| setting | default | alternative | {' | '.join(HEADINGS[name] for name in DECISIVE)} | verdict |",
        f"|---|---|---|{'---|' * len(DECISIVE)}---|",
    ]  # fmt: skip
    for default in DEFAULTS:
        verdict = figures.get(default_key(default), OPEN)
        for value, other, row in default.instead:
            cells = [signed(figures, f"{default_key(default, other)}.{name}") for name in DECISIVE]
            if any(cells):
                tried = "" if value == other else f"{value}: "
                pair = tried + difference_of(f"`{other}`", f"`{row}`")
                lines.append(f"| {default.setting} | {default.value} | {pair} | {' | '.join(cells)} | **{verdict}** |")
        if verdict == OPEN:
            lines.append(f"| {default.setting} | {default.value} | {OPEN} |{' |' * (len(DECISIVE) + 1)}")
    return "\n".join([*lines, ""])


def main_rows(figures: Figures) -> str:
    rows = table(figures, "main", MAIN_ROWS)
    gaps = [
        f"`{row.name}` {share(figures, f'main.{slug(row.name)}.gap_closed')}"
        for row in MAIN_ROWS
        if f"main.{slug(row.name)}.gap_closed" in figures
    ]
    closed = "Share of the gap in similarity between `base` and `ground_truth` that a row closes:"
    sentence = f"{closed} {', '.join(gaps)}.\n" if gaps else ""
    return f"""## Rows

- `base` is the video model alone.
- `null` has the LoRA of `full` and no identity.
- `full` has the clip and the portrait.
- `anchor` has the portrait only.
- `mean_latent` has the clip only, as the mean of its latents instead of slots.
- `slots` has the clip only.
- `movement objective` is `full` with two more terms in the loss. One is the error's change from frame to frame
  (`objective.change_weight`). The other predicts from the clip's global vector where another clip of the person moves
  (`objective.own.movement_weight`).
- `ground_truth` is a rendering of the person, encoded and decoded by the VAE.

{rows}
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
        "## Dynamics by factor", "",
        "Each cell is the correlation of one movement factor, over the clips whose action shows it. The last rows use",
        "the shipped adapter. Its reference is the whole face clip, its first frames, or the whole clip with",
        "shuffled frames.",
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
        lines += [heading("row"), f"|---{'|---' * len(METRICS)}|"]
        lines.append(line(first.name, [figure(figures, f"ablation.{slug(first.name)}.{name}") for name in METRICS]))
        for row in others:
            cells = [signed(figures, f"ablation.{slug(row.name)}.{name}.difference") for name in METRICS]
            lines.append(line(row.name, cells))
        plot, sheet = (f"ablations_{slug(first.name)}.png", f"sheet_ablations_{slug(first.name)}.jpg")
        lines += [picture(plot, pictures), picture(sheet, pictures)]
    return "\n".join(lines)


def trials(figures: Figures, pictures: set[str]) -> str:
    lines = [
        "## Trials at test time", "",
        "All rows use the shipped adapter. They differ in how it is used. No row is trained for its usage.", "",
    ]  # fmt: skip
    for group, rows in TRIALS.items():
        text = table(figures, "trial", (AS_SHIPPED, *rows))
        plot, sheet = (picture(name, pictures) for name in (f"trial_{slug(group)}.png", f"sheet_{slug(group)}.jpg"))
        lines += [f"### {group.capitalize()}", "", text + plot + sheet]
    return "\n".join(lines)


def slots(figures: Figures) -> str:
    names = ("entropy", "cosine", "change")
    lines = [
        "## Behaviour of the slots", "",
        "- **entropy** of the slot given the patch, as a share of its maximum.",
        "- **cosine** between the tokens of two slots.",
        "- **change**: the share of a patch's assignment that moves to other slots from one latent frame to the next.",
        "",
        "The mass of a slot is not reported, as Sinkhorn routing fixes it. The picture shows the shipped adapter. Each",
        "row is a latent frame of one reference. Each column after the first is the assignment of one slot.", "",
        "| row | entropy | cosine | change |", "|---|---|---|---|",
    ]  # fmt: skip
    for row in (*MAIN_ROWS, *ABLATION_ROWS):
        cells = [figure(figures, f"slots.{slug(row.name)}.{name}") for name in names]
        if any(cells):
            lines.append(line(row.name, cells))
    return "\n".join([*lines, ""])


def table(figures: Figures, part: str, rows: tuple[Row, ...]) -> str:
    lines = [heading("row"), f"|---{'|---' * len(METRICS)}|"]
    for row in rows:
        cells = [figure(figures, f"{part}.{slug(row.name)}.{name}") for name in METRICS]
        lines.append(line(row.name + apart(figures, f"{part}.{slug(row.name)}", row), cells))
    return "\n".join([*lines, ""])


def apart(figures: Figures, key: str, row: Row) -> str:
    """Notes beside the name of a row that deviates from the protocol."""
    made, people = figures.get(f"{key}.seeds", row.seeds), other_people(figures, key)
    said = [f"{made} of {row.seeds} seeds"] if made != row.seeds else []
    said += [people] if people else []
    return f" ({', '.join(said)})" if said else ""


def other_people(figures: Figures, key: str, separator: str = "") -> str:
    people = figures.get(f"{key}.trained_on")
    return "" if people in (None, figures["protocol.trained_on"]) else f"{separator}trained on {people} people"


def heading(first: str) -> str:
    names = [f"{HEADINGS[name]}{' ↓' if name in LOWER_IS_BETTER else ''}" for name in METRICS]
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
