"""What a detector reports, and the geometry of boxes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels; right and bottom are exclusive


@dataclass(frozen=True)
class Face:
    """One face in one picture.

    Attributes:
        landmarks: (5, 2) x, y of eyes, nose and mouth corners, where the detector has them.
        embedding: unit vector that tells people apart, where a recogniser is at hand.
    """

    box: Box
    score: float = 1.0
    landmarks: np.ndarray | None = None
    embedding: np.ndarray | None = None

    def scaled(self, factor: float) -> "Face":
        landmarks = None if self.landmarks is None else self.landmarks * factor
        return replace(self, box=box_of(value * factor for value in self.box), landmarks=landmarks)


Detect = Callable[[np.ndarray, int], list[Face]]  # (H, W, 3) uint8 RGB, smallest side of a face in pixels -> faces
Embed = Callable[[np.ndarray, Face], np.ndarray]  # the same picture, one of its faces -> unit vector


@dataclass(frozen=True)
class Detector:
    """`detect` takes one picture; `working_side` is the shorter side, in pixels, at which it works best."""

    name: str
    detect: Detect
    working_side: int
    embed: Embed | None = None


def box_of(values: Iterable[float]) -> Box:
    """Four numbers of any kind as a box."""
    left, top, right, bottom = (float(value) for value in values)
    return left, top, right, bottom


def sides(box: Box | np.ndarray) -> tuple[float, float]:
    return max(0.0, box[2] - box[0]), max(0.0, box[3] - box[1])


def area(box: Box | np.ndarray) -> float:
    width, height = sides(box)
    return width * height


def intersection(first: Box | np.ndarray, second: Box | np.ndarray) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(0.0, width) * max(0.0, height)


def overlap(first: Box | np.ndarray, second: Box | np.ndarray) -> float:
    """Intersection over union, in [0, 1]."""
    shared = intersection(first, second)
    return shared / max(area(first) + area(second) - shared, 1e-9)


def merge_hits(boxes: np.ndarray, min_support: int) -> list[Face]:
    """The many hits of a cascade -> one face per place, scored by how many hits agree on it.

    Args:
        boxes: (N, 4) left, top, right, bottom, in any order.
        min_support: places with fewer hits are noise.
    """
    groups: list[list[np.ndarray]] = []
    # Cascades that search on several threads give their hits in another order each time, and groups depend on it.
    # This is the order of one thread: by size, then by rows.
    for box in boxes[np.lexsort((boxes[:, 0], boxes[:, 1], boxes[:, 2] - boxes[:, 0]))]:
        group = max(groups, key=lambda members: overlap(box, _mean(members)), default=None)
        if group is not None and overlap(box, _mean(group)) > 0.4:
            group.append(box)
        else:
            groups.append([box])
    faces = [Face(box_of(_mean(group)), float(len(group))) for group in groups if len(group) >= min_support]
    faces.sort(key=lambda face: -face.score)
    kept: list[Face] = []
    for face in faces:
        if all(intersection(face.box, other.box) < 0.4 * min(area(face.box), area(other.box)) for other in kept):
            kept.append(face)
    return kept


def _mean(members: list[np.ndarray]) -> np.ndarray:
    return np.mean(members, axis=0)
