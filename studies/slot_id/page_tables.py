"""The page's tables of rows: the main ones, ablations, trials, movement by factor, and slots."""

from collections.abc import Sequence

from slotid_core.toy_world.person import DYNAMICS
from studies.slot_id.claims import MOVES
from studies.slot_id.figures import CONSTANT_GUESS, METRICS, SHOWN_OF_SLOTS
from studies.slot_id.formats import Figures, figure, heading, line, notes, picture, share, signed
from studies.slot_id.people import DEVELOPMENT, EARLIER, REPORTED
from studies.slot_id.plan import ABLATION_GROUPS, ABLATION_ROWS, AS_SHIPPED, MAIN_ROWS, TRIALS, Row
from studies.slot_id.runner import slug
from studies.slot_id.verdicts import NOT_RUN

ABOUT_ROWS = """## Rows

- `base` is the video model alone.
- `described` is the video model alone, with a prompt that says all that words can say of the person in the scene.
- `stranger` is a rendering of another person in the same scene, encoded and decoded by the VAE.
- `null` has the LoRA of `full` and no identity.
- `full` has the clip and the portrait.
- `anchor` has the portrait only.
- `mean_latent` has the clip only, as the mean of its latents instead of slots.
- `slots` has the clip only.
- `movement objective` is `full` with two more terms in the loss. One is the error's change from frame to frame
  (`objective.change_weight`). The other predicts from the clip's global vector where another clip of the person moves
  (`objective.own.movement_weight`).
- `constant guess` watches no clip. It says the middle of each movement factor's range.
- `ground_truth` is a rendering of the person, encoded and decoded by the VAE.
"""

ABOUT_ABLATIONS = """## Ablations

All ablations have a third of the budget. In each table the first line gives the metrics of the baseline, and the other
lines give differences from it. There are three baselines:

- `full third` has a clip and a portrait.
- `slots third` has no portrait. Changes inside the clip's encoder are made here, because the portrait is learnt faster
  and hides the effect of the clip at this budget.
- `movement third` is trained with the movement objective. Changes that concern movement are made here.
"""

ABOUT_TRIALS = """## Trials at test time

All rows use the shipped adapter. They differ in how it is used. No row is trained for its usage. `shuffled` changes the
order of the clip's frames before the VAE, which also spoils how they look, as the VAE is causal. `latent frames
shuffled` changes the order of the latent frames and leaves each as it was. `mismatched clip` has another person's clip
beside the own portrait. Where a stream is zeroed, its tokens and its FiLM are zero, and the other stream keeps its
share of the gate.
"""

ABOUT_MOVEMENT = """## Movement by factor

Each cell is the correlation of one movement factor between the person and the clip, over the clips whose action shows
it. In the groups of ablations and trials, all rows but the first give differences from the first. The first lines give
the number of clips of one row and one training seed.
"""

ABOUT_SLOTS = """## Behaviour of the slots

- **entropy** of the slot given the patch, as a share of its maximum.
- **cosine** between the tokens of two slots.
- **change**: the share of a patch's assignment that moves to other slots from one latent frame to the next.

The mass of a slot is not reported, as Sinkhorn routing fixes it. The picture shows the shipped adapter. Each row is a
latent frame of one reference. Each column after the first is the assignment of one slot.
"""


def main_rows(figures: Figures) -> str:
    rows = table(figures, "main", MAIN_ROWS)
    key = f"main.{slug(CONSTANT_GUESS)}"
    cells = [figure(figures, f"{key}.{metric}") for metric in METRICS]
    gaps = [
        f"`{row.name}` {share(figures, f'main.{slug(row.name)}.gap_closed')}"
        for row in MAIN_ROWS
        if f"main.{slug(row.name)}.gap_closed" in figures
    ]
    closed = "Share of the gap in similarity between `base` and `ground_truth` that a row closes:"
    sentence = f"\n{closed} {', '.join(gaps)}.\n" if gaps else ""
    return "\n".join([ABOUT_ROWS, *rows, line(CONSTANT_GUESS + notes(figures, key), cells), sentence])


def ablations(figures: Figures, pictures: set[str]) -> str:
    lines = [ABOUT_ABLATIONS]
    for first, *others in ABLATION_GROUPS:
        lines += table(figures, "ablation", (first,))
        lines += differences(figures, "ablation", others, METRICS)
        plot, sheet = (f"ablations_{slug(first.name)}.png", f"sheet_ablations_{slug(first.name)}.jpg")
        lines += [picture(plot, pictures), picture(sheet, pictures)]
    return "\n".join(lines)


def trials(figures: Figures, pictures: set[str]) -> str:
    lines = [ABOUT_TRIALS]
    for group, rows in TRIALS.items():
        lines += [f"### {group.capitalize()}", "", *table(figures, "trial", (AS_SHIPPED, *rows))]
        lines += [picture(f"trial_{slug(group)}.png", pictures), picture(f"sheet_{slug(group)}.jpg", pictures)]
    return "\n".join(lines)


def movement(figures: Figures) -> str:
    """Only of rows that are run: the other tables say which are not."""
    lines = [ABOUT_MOVEMENT, heading("row", *MOVES)]
    for on in (REPORTED, DEVELOPMENT, EARLIER):
        counts = [str(figures.get(f"clips.{on}.{factor}", "")) for factor in DYNAMICS]
        if any(counts):
            lines.append(line(f"clips, {on}", counts))
    start = len(lines)
    lines += values(figures, "main", MAIN_ROWS, MOVES)
    for part, groups in (("ablation", ABLATION_GROUPS), ("trial", [(AS_SHIPPED, *rows) for rows in TRIALS.values()])):
        for first, *others in groups:
            changes = differences(figures, part, others, MOVES)
            baseline = values(figures, part, (first,), MOVES)
            lines += [one for one in (*baseline, *changes) if f"| {NOT_RUN} |" not in one]
    known = [one for one in lines[start:] if f"| {NOT_RUN} |" not in one]
    return "\n".join([*lines[:start], *dict.fromkeys(known), ""])


def slots(figures: Figures) -> str:
    lines = [ABOUT_SLOTS, heading("row", *SHOWN_OF_SLOTS)]
    for row in (*MAIN_ROWS, *ABLATION_ROWS):
        cells = [figure(figures, f"slots.{slug(row.name)}.{name}") for name in SHOWN_OF_SLOTS]
        if any(cells):
            lines.append(line(row.name, cells))
    return "\n".join([*lines, ""])


def table(figures: Figures, part: str, rows: Sequence[Row]) -> list[str]:
    return [heading("row", *METRICS), *values(figures, part, rows, METRICS)]


def values(figures: Figures, part: str, rows: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    lines = []
    for row in rows:
        key = f"{part}.{slug(row.name)}"
        cells = [figure(figures, f"{key}.{metric}") for metric in metrics]
        lines.append(line(row.name + notes(figures, key, row), cells))
    return lines


def differences(figures: Figures, part: str, rows: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    lines = []
    for row in rows:
        key = f"{part}.{slug(row.name)}"
        cells = [signed(figures, f"{key}.{metric}.difference") for metric in metrics]
        lines.append(line(row.name + notes(figures, key, row), cells))
    return lines
