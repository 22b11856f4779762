"""Who is in the clip: single detections joined into tracks, the dominant one first, and a box for every frame."""

from dataclasses import dataclass

import numpy as np

from .face import Face, area

LONGEST_GAP = 32  # frames without a detection after which a face counts as a new one
NEIGHBOURS = 2  # detections on each side that a box is compared with to drop outliers


@dataclass(frozen=True)
class Track:
    """One person's detections: frame index -> face."""

    faces: dict[int, Face]

    @property
    def weight(self) -> float:
        """Area times time: the sum of the face's area over its detections."""
        return sum(area(face.box) for face in self.faces.values())


def link_faces(detections: dict[int, list[Face]], min_share: float = 0.2) -> list[Track]:
    """Detections by frame index -> tracks, the dominant subject first.

    Args:
        detections: every examined frame, also those with no face.
        min_share: a track seen in a smaller share of the examined frames is taken for a false alarm.
    """
    tracks: list[dict[int, Face]] = []
    for index in sorted(detections):
        free = [track for track in tracks if index - max(track) <= LONGEST_GAP]
        for face in sorted(detections[index], key=lambda face: -area(face.box)):
            best = max(free, key=lambda track: _likeness(track, index, face), default=None)
            if best is not None and _likeness(best, index, face) > 0:
                free.remove(best)
                best[index] = face
            else:
                tracks.append({index: face})
    enough = max(1.0, min_share * len(detections))
    return sorted((Track(track) for track in tracks if len(track) >= enough), key=lambda track: -track.weight)


def _likeness(track: dict[int, Face], index: int, face: Face) -> float:
    """1 for the same place as the track's last face, falling with distance; 0 for what cannot be the same face.

    A face moves further the longer it went unseen, but never much more than its side.
    """
    last = max(track)
    before = np.array(track[last].box)
    now = np.array(face.box)
    size_before, size_now = np.sqrt(area(track[last].box)), np.sqrt(area(face.box))
    if not 0.55 < size_now / max(size_before, 1e-9) < 1.8:
        return 0.0
    distance = np.linalg.norm((now[:2] + now[2:] - before[:2] - before[2:]) / 2)
    reach = max(size_before, size_now) * min(0.5 + 0.15 * (index - last), 1.5)
    return max(0.0, 1 - distance / reach)


def boxes_for_every_frame(track: Track, num_frames: int) -> np.ndarray:
    """(T, 4) boxes: outliers replaced by the median of their neighbours, gaps filled linearly, ends held."""
    known = np.array(sorted(track.faces))
    boxes = np.array([track.faces[index].box for index in known], dtype=float)  # (N, 4)
    steady = np.stack(
        [np.median(boxes[max(0, i - NEIGHBOURS) : i + NEIGHBOURS + 1], axis=0) for i in range(len(boxes))]
    )
    side = (boxes[:, 2] - boxes[:, 0]).clip(min=1)
    outlier = np.abs(boxes - steady).max(axis=1) > 0.5 * side
    boxes[outlier] = steady[outlier]
    return np.stack([np.interp(np.arange(num_frames), known, boxes[:, column]) for column in range(4)], axis=1)
