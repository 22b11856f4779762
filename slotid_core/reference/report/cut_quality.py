"""How good a cut-out is: what of the person is missing in a mask, and what of the background is in it.

A mask is judged against what the parts network sees in the uncut frame. Where the mask is the network's own, its views
of the frame at two scales are compared instead, and the mask's shape: a knife leaves straight edges, hair has none.
Areas are shares of the face's box, so that they mean the same at any size.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..faces.face import Box
from ..portrait.parts import HAIR, Parts

KEPT = 0.5  # alpha from which a pixel counts as kept
CERTAIN = 0.6  # of the network's alpha: above it a pixel is a person's, below 1 - CERTAIN it is not
VEIL = 0.15  # alpha between that and 1 - VEIL is neither kept nor cut
THIN = 0.03  # of the face's side: what is thinner than twice that lies within the edge's uncertainty
STRAIGHT = 0.25  # of the face's side: shortest run of the outline along a row or column that no round head has
HEAD = (1.3, 0.9, 0.15)  # what belongs to the head: reach to each side, above and below the box, in sides of it


@dataclass(frozen=True)
class CutFacts:
    """Judged on one mask; see `cut_facts`.

    Attributes:
        hair_lost: share of the hair that is not in the mask.
        person_lost: area of head and neck that is not in the mask.
        background_kept: area in the mask that is no person.
        unsure: area on which two views of the frame disagree.
        veiled: area of head and neck that the mask keeps by halves, as fog rather than an edge.
        straight: length of the head's outline that runs straight along rows or columns.
        border: share of the picture's upper edge and upper sides that hair or head touches, in sides of the face.
    """

    hair_lost: float
    person_lost: float
    background_kept: float
    unsure: float
    veiled: float
    straight: float
    border: float


def cut_facts(mask: Tensor, box: Box, views: list[Parts]) -> CutFacts:
    """Compares a mask with what the network sees.

    Args:
        mask: (H, W) in [0, 1], 1 = kept.
        box: the face in pixels.
        views: what `find_parts` found in the uncut frame, one frame each: at least one.
    """
    kept = (mask > KEPT).cpu().numpy()
    alphas = torch.stack([view.alpha[0] for view in views]).cpu().numpy()  # (V, H, W)
    hair = torch.stack([view.parts[0, HAIR] for view in views]).mean(dim=0).cpu().numpy()
    alpha, side = alphas.mean(axis=0), max(box[2] - box[0], box[3] - box[1], 1.0)
    radius, face = max(1, round(THIN * side)), side**2
    person, background = alpha > CERTAIN, alpha < 1 - CERTAIN
    head = _head(kept.shape, box)
    is_hair = hair > 0.5  # whatever alpha says there: it may be wrong where the mask is
    veil = ((mask > VEIL) & (mask < 1 - VEIL)).cpu().numpy()
    lost_hair = _thick(is_hair & ~kept, radius)
    return CutFacts(
        hair_lost=float(lost_hair.sum() / max(is_hair.sum(), 0.02 * face)),
        person_lost=float(_thick(person & ~kept & head, radius).sum() / face),
        background_kept=float(_thick(background & kept, radius).sum() / face),
        unsure=float(_thick((alphas.max(axis=0) > 0.7) & (alphas.min(axis=0) < 0.3), radius).sum() / face),
        veiled=float(_thick(veil & head, radius).sum() / face),
        straight=straight_edges(kept & head, head, max(3, round(STRAIGHT * side))) / side,
        border=_at_border(kept & head, box) / side,
    )


def straight_edges(kept: np.ndarray, where: np.ndarray, shortest: int) -> int:
    """Pixels of the outline of (H, W) in straight runs along rows and columns, at least `shortest` long.

    The picture's border is no outline, and neither is that of `where`.
    """
    total = 0
    for picture, region in ((kept, where), (kept.T, where.T)):
        steps = (picture[1:] != picture[:-1]) & region[1:] & region[:-1]  # (H - 1, W): outline between two rows
        padded = np.pad(steps, ((0, 0), (1, 1))).astype(np.int8)
        for row in padded[steps.any(axis=1).nonzero()[0]]:
            change = np.diff(row)
            lengths = (change == -1).nonzero()[0] - (change == 1).nonzero()[0]
            total += int(lengths[lengths >= shortest].sum())
    return total


def _thick(area: np.ndarray, radius: int) -> np.ndarray:
    """Without what is thinner than twice the radius."""
    from scipy.ndimage import distance_transform_edt

    # The picture's border does not make a thing thin.
    padded = np.pad(area, radius + 1, mode="edge")
    core = np.asarray(distance_transform_edt(padded)) > radius
    if not core.any():
        return np.zeros_like(area)
    grown = np.asarray(distance_transform_edt(~core)) <= radius
    return grown[radius + 1 : -radius - 1, radius + 1 : -radius - 1] & area


def _head(shape: tuple[int, ...], box: Box) -> np.ndarray:
    """(H, W): where hair and head may be around this face."""
    side = max(box[2] - box[0], box[3] - box[1])
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    across, above, below = HEAD
    near = np.abs(columns - (box[0] + box[2]) / 2) < across * side
    return near & (rows > box[1] - above * side) & (rows < box[3] + below * side)


def _at_border(kept: np.ndarray, box: Box) -> int:
    """Pixels along the top, and along the sides down to the eyes, that are kept."""
    eyes = max(1, round(min(kept.shape[0], (box[1] + box[3]) / 2)))
    return int(kept[0].sum() + kept[:eyes, 0].sum() + kept[:eyes, -1].sum())
