"""What each of Lynx's two adapters does: the claims of its paper's Table 3, each with a verdict."""

from dataclasses import dataclass

from slotid_core.evaluation.estimators import mean
from slotid_core.evaluation.paired import Difference, paired_difference
from studies.four_systems.figures import Results

FULL, ID, REF = "lynx.full", "lynx.id", "lynx.ref"


@dataclass(frozen=True)
class Claim:
    """`more` has more of `measure` than `less`; `published`, the paper's two figures in that order."""

    text: str
    measure: str
    more: str
    less: str
    published: tuple[float, float]


# Published: cosines by insightface, and prompt following as graded by a vision-language model.
CLAIMS = (
    Claim("Without the Ref adapter the person is a little less alike", "similarity", FULL, ID, (0.699, 0.655)),
    Claim("Without the Ref adapter prompts are followed less", "action", FULL, ID, (0.722, 0.624)),
    Claim("Without the ID adapter the person is much less alike", "similarity", FULL, REF, (0.699, 0.523)),
    Claim("The ID adapter alone is more alike than the Ref adapter alone", "similarity", ID, REF, (0.655, 0.523)),
    Claim("Without the ID adapter prompts are followed a little better", "action", REF, FULL, (0.738, 0.722)),
)


def verdicts(results: Results) -> list[str]:
    """A line for each claim whose rows are measured."""
    lines = []
    for claim in CLAIMS:
        found = difference(results, claim)
        if found is not None:
            told = f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}] of {claim.measure}"
            paper = f"{claim.published[0] - claim.published[1]:+.3f}"
            lines.append(f"{claim.text}: **{verdict(found)}**, {told}; the paper's own measure has {paper}.")
    return lines


def difference(results: Results, claim: Claim) -> Difference | None:
    """Of the two rows, over the training seeds that both have; None where one is not measured."""
    sides = [results.get(("toy", row), []) for row in (claim.more, claim.less)]
    seeds = min(map(len, sides))
    if not seeds:
        return None
    more, less = ([measured[claim.measure] for measured in side[:seeds]] for side in sides)
    return paired_difference(more, less, mean)


def verdict(found: Difference) -> str:
    """By the 95% interval of the difference; every training seed must have its direction."""
    if found.low > 0 and found.one_direction:
        return "holds here"
    if found.high < 0 and found.one_direction:
        return "the opposite here"
    return "undecided here"
