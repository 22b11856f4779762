"""The page's tables of claims and of defaults."""

from studies.slot_id.claims import CLAIMS, Claim
from studies.slot_id.defaults import DEFAULTS, Default
from studies.slot_id.formats import HEADINGS, Figures, heading, notes, signed
from studies.slot_id.people import DEVELOPMENT, REPORTED
from studies.slot_id.runner import slug
from studies.slot_id.verdicts import DECISIVE, NOT_RUN, default_key, difference_of

ABOUT_CLAIMS = """## The paper's claims

Verdicts are from paired bootstraps over people: two-sided p, corrected by Holm's method for the {claim_tests} tests of
the two tables below, at {level:.0%}. Tests that are not run count as p = 1, so a result stays when others are added.

- **held**: the corrected p is below {level:.0%}, and the difference is above 0 in every training seed.
- **reversed**: the same with a difference below 0. What the claim praises does harm.
- **training seeds disagree**: the corrected p is below {level:.0%}, and the difference has another sign in one seed.
- **no effect shown**: the corrected interval includes 0.

The difference is the mean over training seeds. Its 95% interval is not corrected, and p is. What each seed gives is in
brackets behind the interval. A verdict from fewer training seeds than are planned says so and is not final.
"""

ABOUT_MOVEMENT = """### Claims about movement

Each movement factor has a verdict of its own, as a clip shows only what its action moves. **clips** are those of one
row and one training seed that show the factor.
"""

ABOUT_DEFAULTS = """## Consequences for the defaults

Defaults are chosen on the people of development (seed {development_seed}) and reported on others (seed
{reported_seed}). A default gives way to another value under two conditions. One row with that value is better in
similarity or in a movement factor, after Holm's correction for {default_tests} tests. No row with that value is worse
in similarity, action or a movement factor, by intervals that are not corrected. The verdict is that of development.
Cells are as in the tables of claims.
"""


def claims(figures: Figures) -> str:
    about = ABOUT_CLAIMS.format(**protocol(figures))
    lines = [about, "| claim | verdict | evidence |", "|---|---|---|"]
    for claim in CLAIMS:
        if not claim.by_factor:
            key = f"claim.{slug(claim.statement)}"
            cells = [(HEADINGS[metric], signed(figures, f"{key}.{metric}")) for metric in claim.metrics]
            said = "; ".join(f"{name} {cell}" for name, cell in cells if cell)
            evidence = f"{said} ({rows_of(figures, claim)})" if said else NOT_RUN
            lines.append(f"| {claim.statement} | **{figures.get(key, NOT_RUN)}** | {evidence} |")
    lines += ["", ABOUT_MOVEMENT, heading("claim", "factor", "clips", "verdict", "evidence")]
    for claim in CLAIMS:
        if claim.by_factor:
            lines += factors(figures, claim)
    return "\n".join([*lines, ""])


def factors(figures: Figures, claim: Claim) -> list[str]:
    key, lines = f"claim.{slug(claim.statement)}", []
    run = [metric for metric in claim.metrics if f"{key}.{metric}" in figures]
    for metric in run:
        verdict, clips = figures[f"{key}.{metric}.verdict"], figures[f"{key}.{metric}.clips"]
        name = f"{claim.statement} ({rows_of(figures, claim)})" if metric == run[0] else ""
        lines.append(
            f"| {name} | {HEADINGS[metric]} | {clips} | **{verdict}** | {signed(figures, f'{key}.{metric}')} |"
        )
    return lines or [f"| {claim.statement} | | | **{NOT_RUN}** | {NOT_RUN} |"]


def rows_of(figures: Figures, claim: Claim) -> str:
    key = f"claim.{slug(claim.statement)}"
    return figures[f"{key}.rows"] + notes(figures, f"{key}.{claim.metrics[0]}")


def defaults(figures: Figures) -> str:
    lines = [
        ABOUT_DEFAULTS.format(**protocol(figures)),
        heading("setting", "default", "alternative", "people", *DECISIVE, "verdict"),
    ]
    for default in DEFAULTS:
        lines += alternatives(figures, default)
    return "\n".join([*lines, ""])


def alternatives(figures: Figures, default: Default) -> list[str]:
    """Lines of a default: each alternative that is run, on each set of people, and how many are not."""
    start, lines = f"| {default.setting} | {default.value} |", []
    missing = dict.fromkeys((DEVELOPMENT, REPORTED), 0)
    for value, other, row in default.instead:
        tried = "" if value == other else f"{value}: "
        pair = tried + difference_of(f"`{other}`", f"`{row}`")
        for on in missing:
            key = f"{default_key(default, other)}.{on}"
            cells = [signed(figures, f"{key}.{metric}") for metric in DECISIVE]
            if any(cells):
                people = f"{on}{notes(figures, f'{key}.{DECISIVE[0]}')}"
                verdict = f"**{figures[f'{default_key(default)}.{on}']}**" if on == DEVELOPMENT else ""
                lines.append(f"{start} {pair} | {people} | {' | '.join(cells)} | {verdict} |")
            else:
                missing[on] += 1
    for on, number in missing.items():
        if number:
            what = NOT_RUN if number == len(default.instead) else f"{number} more {NOT_RUN}"
            lines.append(f"{start} {what} | {on} |{' |' * (len(DECISIVE) + 1)}")
    return lines


def protocol(figures: Figures) -> dict:
    return {name.removeprefix("protocol."): value for name, value in figures.items() if name.startswith("protocol.")}
