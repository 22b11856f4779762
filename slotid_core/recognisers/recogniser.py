"""What a face recogniser is to the scores.

Cosines of two recognisers cannot be compared: dlib's are .8 for two strangers, ArcFace's .0. So each comes with the
cosine that strangers and the same person have on average; `calibrated` puts strangers at 0, the same person at 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..reference.faces.face import Face

Look = Callable[[np.ndarray], list[Face]]


@dataclass(frozen=True)
class Recogniser:
    """One network that tells people apart, with what finds the faces for it.

    Attributes:
        name: key of its figures.
        description: the network, its file and what finds faces, for the report.
        look: a frame (H, W, 3) uint8 RGB -> faces with boxes in pixels and unit vectors.
        stranger, same: mean cosines of two people and of one, on real faces (docs/scores.md); NaN if not measured.
        threshold: cosine that parts one person from two, where it was measured.
    """

    name: str
    description: str
    look: Look
    stranger: float = float("nan")
    same: float = float("nan")
    threshold: float = float("nan")

    def calibrated(self, cosine):
        """0 for strangers, 1 for the same person; NaN where the recogniser has not been measured."""
        return (cosine - self.stranger) / (self.same - self.stranger)


class NotHere(Exception):
    """A recogniser that cannot run, and what is needed for it."""


def unit(vector: np.ndarray) -> np.ndarray:
    vector = np.asarray(vector, dtype=np.float64).ravel()
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
