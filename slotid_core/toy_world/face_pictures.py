"""Faces of drawn people as a face network gets them: cut out as a detector and a tracker would, then aligned."""

import numpy as np
import torch
from torch import Tensor

from ..reference.faces.alignment import crop_place, crops_at, landmarks_from_box
from ..reference.faces.crop import cut_squares, square_path

JITTER = 0.06  # of the head's side: detectors place their boxes a little differently on everybody
SCALE = (0.65, 1.05)  # some box the whole head, others brows to chin
MARGIN = 0.5  # around the box, as the face tracker's default


def as_if_detected(boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(T, 4) boxes, all moved and scaled by one random amount."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    centre = centre + 2 * half * rng.uniform(-JITTER, JITTER, 2)
    half = half * rng.uniform(*SCALE)
    return np.concatenate([centre - half, centre + half], axis=1)


def face_places(boxes: np.ndarray, side: int, margin: float = MARGIN) -> Tensor:
    """Where the faces of square frames lie, (T, 2, 3), for `alignment.crops_at`.

    The square around a box is what a face picture shows, and the middle of that picture is taken for the face.

    Args:
        boxes: (T, 4) left, top, right, bottom in pixels.
        side: of a frame in pixels.
    """
    squares = square_path(boxes, side, side, margin, smoothing=0)
    corners = np.concatenate([squares[:, :2], squares[:, :2] + squares[:, 2:]], axis=1)
    return torch.stack([crop_place(landmarks_from_box(tuple(box)), side, side) for box in corners])


def crops_of_frames(frames: Tensor, boxes: np.ndarray) -> Tensor:
    """Square frames (T, H, H, 3) in [0, 1] and boxes (T, 4) -> (T, 3, 112, 112) in [-1, 1]."""
    return crops_at(frames.movedim(-1, 1), face_places(boxes, frames.shape[1]))


def crops_of_face_pictures(frames: Tensor, boxes: np.ndarray, side: int) -> Tensor:
    """The same by way of face pictures of `side` pixels: nothing but black is around these."""
    squares = square_path(boxes, frames.shape[1], frames.shape[1], MARGIN, smoothing=0)
    pictures = cut_squares(frames, squares, side).movedim(-1, 1)
    place = crop_place(landmarks_from_box((0, 0, side, side)), side, side)
    return crops_at(pictures, place.expand(len(pictures), -1, -1))
