"""Figures of the graph beside those of the lab.

Keys: `similarity`, `rank1`, `action`, `background`, `clothes`, `dynamics.<factor>` of the videos as they were saved;
`frames.*`, the same before the video's codec; `lab.*`, the same people by `evaluation toy`'s path; each with `.low` and
`.high`. `share_of_lab` is the graph's similarity over the lab's. `errors` of `prompts` ended without a video.

**A prompt that ended in an error is in no figure of the graph**: it has no video that could be like or unlike anybody,
and a similarity of zero would be made up. `share_of_lab` leaves it out on both sides. So read `errors` first: figures
beside many errors are of the people that were left.
"""

import numpy as np

from ..estimators import estimate, ratio
from ..intervals import bootstrap
from ..metrics import summarize

LAB, SAMPLED = "lab", "frames"
Measured = dict[str, np.ndarray]  # of each figure, (people, prompts, ...)


def figures_of(
    saved: Measured, sampled: Measured | None, lab: Measured | None, came_out: np.ndarray
) -> dict[str, float]:  # fmt: skip
    """Flat figures.

    Args:
        saved: of the saved videos; where none came out, of anything.
        sampled: of the frames before the codec, if the workflow gives them.
        lab: of the lab's clips, if there is an adapter for it.
        came_out: (people, prompts), whether there is a video.
    """
    figures: dict[str, float] = {"prompts": came_out.size, "errors": int((~came_out).sum())}
    figures |= summarize("", only(saved, came_out))
    if sampled is not None:
        figures |= summarize(SAMPLED, only(sampled, came_out))
    if lab is not None:
        figures |= summarize(LAB, lab)
        pairs = np.stack([only(part, came_out)["similarity"] for part in (saved, lab)], axis=-1)
        figures["share_of_lab"] = estimate(pairs, share)
        figures["share_of_lab.low"], figures["share_of_lab.high"] = bootstrap(pairs, share)
    return figures


def only(measured: Measured, came_out: np.ndarray) -> Measured:
    """What did not come out becomes NaN, which no figure counts."""
    return {
        name: np.where(came_out.reshape(came_out.shape + (1,) * (values.ndim - 2)), values, np.nan)
        for name, values in measured.items()
    }


def share(pairs: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(people, prompts, 2), the graph's and the lab's: the ratio of their means; see `estimators`."""
    known = np.isfinite(pairs).all(axis=-1, keepdims=True)
    sums = counts @ np.where(known, pairs, 0.0).sum(axis=1)  # (resamples, 2)
    return ratio(sums[:, 0], sums[:, 1])
