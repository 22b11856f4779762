"""Boxes that jump: a mouth or a goatee taken for the face for a moment, or something else in the picture.

Heads move and grow steadily. So of one person's detections the heaviest series is kept in which each can follow the one
before, and what lies between is refused if it comes and goes, or is a smaller box inside the face.
"""

import numpy as np

from .face import Box, Face, area, box_of, intersection

LONGEST_GAP = 32  # frames without a detection after which a face is looked for again in the whole clip
# How much a box may grow or move between two detections, on the next frame and with each frame more. On real clips,
# every third frame examined, the most was 1.44 and 0.42.
GROWTH, MORE_GROWTH, MOST_GROWTH = 1.45, 0.01, 1.6
SHIFT, MORE_SHIFT, MOST_SHIFT = 0.5, 0.15, 1.5  # of the larger box's side
PART_OF_FACE = 0.75  # side of a box inside the face, as a share of the face's, up to which it is a part of it
INSIDE = 0.6  # of the smaller box; the face's place is interpolated
FEWEST = 3  # detections at the clip's start or end that are believed though they fit nothing


def without_jumps(faces: dict[int, Face]) -> dict[int, Face]:
    """One person's detections by frame index, without those that jumped."""
    steady = heaviest_series(faces)
    kept = set(steady)
    for run in _runs(sorted(faces), kept):
        if not _is_jump(run, faces, steady):
            kept.update(run)
    return {index: faces[index] for index in sorted(kept)}


def heaviest_series(faces: dict[int, Face]) -> list[int]:
    """Frame indices of the series with the largest sum of sides in which each box can follow the one before."""
    indices = sorted(faces)
    weights, before = [], []
    for place, index in enumerate(indices):
        best, link = 0.0, -1
        for earlier in reversed(range(place)):  # the latest are the heaviest, so few need a closer look
            if weights[earlier] > best and _can_follow(
                faces[indices[earlier]].box, faces[index].box, index - indices[earlier]
            ):
                best, link = weights[earlier], earlier
        weights.append(best + float(np.sqrt(area(faces[index].box))))
        before.append(link)
    place, series = int(np.argmax(weights)) if indices else -1, []
    while place >= 0:
        series.append(indices[place])
        place = before[place]
    return series[::-1]


def _can_follow(first: Box, second: Box, frames: int) -> bool:
    sides = np.sqrt([max(area(first), 1e-9), max(area(second), 1e-9)])
    if sides.max() / sides.min() > min(GROWTH + MORE_GROWTH * frames, MOST_GROWTH):
        return False
    shift = np.hypot(first[0] + first[2] - second[0] - second[2], first[1] + first[3] - second[1] - second[3]) / 2
    return bool(shift <= sides.max() * min(SHIFT + MORE_SHIFT * frames, MOST_SHIFT))


def _runs(indices: list[int], kept: set[int]) -> list[list[int]]:
    """Detections that are not kept, those with no kept one between them together."""
    runs: list[list[int]] = [[]]
    for index in indices:
        if index in kept:
            runs.append([])
        else:
            runs[-1].append(index)
    return [run for run in runs if run]


def _is_jump(run: list[int], faces: dict[int, Face], steady: list[int]) -> bool:
    """Long runs elsewhere are believed, for scenes change; long ones inside the face are not."""
    if np.mean([_is_part(faces[index].box, _between(index, faces, steady)) for index in run]) > 0.5:
        return True
    if steady[0] < run[0] < steady[-1]:
        return run[-1] - run[0] <= LONGEST_GAP
    return len(run) < FEWEST


def _is_part(box: Box, face: Box) -> bool:
    smaller = np.sqrt(area(box) / max(area(face), 1e-9)) < PART_OF_FACE
    return bool(smaller and intersection(box, face) > INSIDE * area(box))


def _between(index: int, faces: dict[int, Face], steady: list[int]) -> Box:
    boxes = np.array([faces[one].box for one in steady])
    return box_of(np.interp(index, steady, boxes[:, side]) for side in range(4))
