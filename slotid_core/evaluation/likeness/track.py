"""How like somebody the faces of a video are, frame by frame."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from ...recognisers.recogniser import Recogniser
from ...reference.faces.face import Box, area
from .frames import Frames, evenly
from .people import Person, look_twice

PUBLISHED = (32, 16)  # frames that OpenS2V and ConsisID look at, evenly from first to last


@dataclass(frozen=True)
class Track:
    """What one recogniser saw of one person.

    Attributes:
        indices: (N,) frames that were looked at.
        seconds: (N,) when they are shown.
        cosine: (N,) to the person; NaN where no face was found, or all belonged to others.
        boxes: the face in each frame, in pixels, None where there was none.
        steady: (N,) cosine to the face in the frame looked at before; NaN where one of the two is missing.
        vectors: the unit vector of the face in each frame, None where there was none.
    """

    indices: np.ndarray
    seconds: np.ndarray
    cosine: np.ndarray
    boxes: list[Box | None]
    steady: np.ndarray
    vectors: list[np.ndarray | None] = field(default_factory=list)

    @property
    def found(self) -> np.ndarray:
        return np.isfinite(self.cosine)


def indices_of(count: int, looks: int = 0) -> np.ndarray:
    """Frames to look at: those of the published protocols and `looks` evenly; all with looks < 0."""
    if looks < 0:
        return np.arange(count)
    return np.unique(np.concatenate([evenly(count, number) for number in (*PUBLISHED, looks) if number]))


def follow(
    frames: Frames, people: Sequence[Person], recogniser: Recogniser, indices: np.ndarray,
    advance: Callable[[], object] = lambda: None,
) -> list[Track]:  # fmt: skip
    """A track of each person. One person is the largest face, as published; of several, faces and people are matched
    so that the cosines' sum is greatest, and nobody gets two faces.
    """
    cosine = np.full((len(people), len(indices)), np.nan)
    boxes: list[list[Box | None]] = [[None] * len(indices) for _ in people]
    vectors: list[list[np.ndarray | None]] = [[None] * len(indices) for _ in people]
    known = np.stack([person.vector for person in people])
    for place, index in enumerate(indices):
        faces = [face for face in look_twice(recogniser, frames.pixels[index]) if face.embedding is not None]
        if faces and len(people) == 1:
            faces = [max(faces, key=lambda face: area(face.box))]
        if faces:
            seen = np.stack([face.embedding for face in faces if face.embedding is not None])
            cosines = known @ seen.T
            for person, face in zip(*linear_sum_assignment(-cosines), strict=True):
                cosine[person, place] = cosines[person, face]
                boxes[person][place], vectors[person][place] = faces[face].box, seen[face]
        advance()
    seconds = frames.seconds(indices)
    return [Track(indices, seconds, cosine[n], boxes[n], _steady(vectors[n]), vectors[n]) for n in range(len(people))]


def _steady(vectors: list[np.ndarray | None]) -> np.ndarray:
    pairs = zip([None, *vectors[:-1]], vectors, strict=True)
    return np.array([np.nan if a is None or b is None else float(a @ b) for a, b in pairs])
