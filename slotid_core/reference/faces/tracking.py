"""Who is in the clip: single detections joined into tracks, the dominant one first, and a box for every frame."""

from dataclasses import dataclass

import numpy as np

from .face import Box, Face, area, box_of, intersection
from .jumps import LONGEST_GAP, without_jumps

NEIGHBOURS = 2  # detections on each side that a box is compared with to drop outliers
SAME_HEAD = 0.5  # of the smaller box inside the other: cascades see a second, smaller face in some faces
SAME_PERSON = 0.35  # cosine of two embeddings; ArcFace's of different people stay below it
ABOUT_EQUAL = 0.85  # tracks at least that heavy compared with the heaviest are put in order from left to right


@dataclass(frozen=True)
class Track:
    """One person's detections: frame index -> face; `refused` are the frames on which the box had jumped."""

    faces: dict[int, Face]
    refused: tuple[int, ...] = ()

    @property
    def weight(self) -> float:
        """Area times time: the sum of the face's area over its detections."""
        return sum(area(face.box) for face in self.faces.values())

    @property
    def embedding(self) -> np.ndarray | None:
        """Unit vector: the mean of the faces', None where there are none."""
        vectors = [face.embedding for face in self.faces.values() if face.embedding is not None]
        if not vectors:
            return None
        mean = np.mean(vectors, axis=0)
        return mean / max(float(np.linalg.norm(mean)), 1e-9)

    def box_at(self, index: int) -> Box:
        """The face on any frame, filled in between detections."""
        known = sorted(self.faces)
        boxes = np.array([self.faces[one].box for one in known])
        return box_of(np.interp(index, known, boxes[:, side]) for side in range(4))


def link_faces(detections: dict[int, list[Face]], min_share: float = 0.2) -> list[Track]:
    """Detections by frame index -> tracks, the dominant subject first; of about equal ones, the leftmost first.

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
    returned = _returned([_steady(Track(track)) for track in tracks])  # where a box jumped, the rest is a new track
    people = _without_faces_in_faces([_steady(track) for track in returned])
    enough = max(1.0, min_share * len(detections))
    people = sorted((track for track in people if len(track.faces) >= enough), key=lambda track: -track.weight)
    equal = [track for track in people if track.weight >= ABOUT_EQUAL * people[0].weight]
    return sorted(equal, key=lambda track: np.median([face.box[0] for face in track.faces.values()])) + [
        track for track in people if track not in equal
    ]


def _returned(tracks: list[Track]) -> list[Track]:
    """Joins the tracks of a person who was away: the same embedding, or without one about the same place and size."""
    joined: list[Track] = []
    for track in sorted(tracks, key=lambda track: min(track.faces)):
        start = min(track.faces)
        for number, earlier in enumerate(joined):
            if max(earlier.faces) < start and _is_same_person(earlier, track):
                joined[number] = Track(earlier.faces | track.faces, earlier.refused + track.refused)
                break
        else:
            joined.append(track)
    return joined


def _steady(track: Track) -> Track:
    faces = without_jumps(track.faces)
    return Track(faces, tuple(sorted({*track.refused, *track.faces.keys() - faces.keys()})))


def _is_same_person(earlier: Track, later: Track) -> bool:
    if earlier.embedding is not None and later.embedding is not None:
        return float(earlier.embedding @ later.embedding) > SAME_PERSON
    start = min(later.faces)
    return _likeness(earlier.faces, start, later.faces[start]) > 0


def _without_faces_in_faces(tracks: list[Track]) -> list[Track]:
    """Drops what is seen inside a stronger face most of the time: a mouth or an eye taken for a face of its own."""
    kept: list[Track] = []
    for track in sorted(tracks, key=lambda track: -track.weight):

        def inside(index: int, other: Track, track=track) -> bool:
            near = min(other.faces) - LONGEST_GAP <= index <= max(other.faces) + LONGEST_GAP
            box = track.faces[index].box
            return near and intersection(box, other.box_at(index)) > SAME_HEAD * area(box)

        if not any(np.mean([inside(index, other) for index in track.faces]) > 0.5 for other in kept):
            kept.append(track)
    return kept


def _likeness(track: dict[int, Face], index: int, face: Face) -> float:
    """1 for the same place as the track's last face, falling with distance; 0 for what cannot be the same face.

    A face moves further the longer it went unseen, but never much more than its side. Embeddings, where there are any,
    veto a mismatched identity who takes the place.
    """
    last = max(track)
    before = np.array(track[last].box)
    now = np.array(face.box)
    size_before, size_now = np.sqrt(area(track[last].box)), np.sqrt(area(face.box))
    if not 0.55 < size_now / max(size_before, 1e-9) < 1.8:
        return 0.0
    alike = 1.0
    if face.embedding is not None and track[last].embedding is not None:
        alike = float(face.embedding @ track[last].embedding)
        if alike < SAME_PERSON / 2:
            return 0.0
    distance = np.linalg.norm((now[:2] + now[2:] - before[:2] - before[2:]) / 2)
    reach = max(size_before, size_now) * min(0.5 + 0.15 * (index - last), 1.5)
    return max(0.0, 1 - distance / reach) * alike


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
