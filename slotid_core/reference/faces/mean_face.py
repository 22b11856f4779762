"""Who somebody is by several pictures: the mean of their embeddings, without those that are another's or say little."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import SlotIDError

FARTHER = 2.5  # times the usual distance from the mean (1 - cosine) from which on an embedding may be an outlier
DEVIATIONS = 3.0  # robust standard deviations above the usual distance, beside that
TO_SIGMA = 1.4826  # median absolute deviation -> standard deviation of a normal distribution
LEAST_DISTANCE = 0.01  # embeddings as near to the mean as that are none, however alike the others are
ROUNDS = 10


@dataclass(frozen=True)
class MeanFace:
    """Attributes:
    vector: (W,) of length 1.
    kept: places of the embeddings that it is the mean of.
    left_out: place -> cosine with the mean, of the others.
    agreement: mean cosine of the kept ones with the mean.
    """

    vector: Tensor
    kept: tuple[int, ...]
    left_out: dict[int, float]
    agreement: float


def mean_face(vectors: Tensor) -> MeanFace:
    """The mean direction of embeddings (K, W), without outliers, which are at most half of them.

    Raises:
        SlotIDError: there is none, or one holds NaN.
    """
    if vectors.dim() != 2 or not len(vectors) or not torch.isfinite(vectors).all():
        raise SlotIDError(
            f"Face embeddings of shape {tuple(vectors.shape)} came in, or such with NaN. Give at least one picture in "
            "which a face is found."
        )
    unit = F.normalize(vectors.double(), dim=1)
    centre = unit[(unit @ unit.T).mean(dim=1).argmax()]  # the one that the others are nearest to
    least = len(unit) // 2 + 1 if len(unit) > 2 else len(unit)
    kept = torch.ones(len(unit), dtype=torch.bool)
    for _ in range(ROUNDS):
        distance = 1 - unit @ centre
        usual = distance[kept].median()
        deviation = TO_SIGMA * (distance[kept] - usual).abs().median()
        limit = max(float(FARTHER * usual), float(usual + DEVIATIONS * deviation), LEAST_DISTANCE)
        near = distance <= limit
        near[distance.argsort()[:least]] = True
        centre = F.normalize(unit[near].mean(dim=0), dim=0)
        if torch.equal(near, kept):
            break
        kept = near
    cosines = unit @ centre
    return MeanFace(
        centre.to(vectors.dtype),
        tuple(kept.nonzero().flatten().tolist()),
        {place: float(cosines[place]) for place in (~kept).nonzero().flatten().tolist()},
        float(cosines[kept].mean()),
    )
