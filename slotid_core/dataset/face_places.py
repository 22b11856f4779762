"""Where the face of the person lies in the frames of the video to learn, so that training can look at it again."""

import numpy as np
import torch
from torch import Tensor

from ..errors import SlotIDError
from ..reference.faces.alignment import crop_place, landmarks_from_box
from ..reference.faces.detector import Detector
from ..reference.faces.face import Face, area, box_of
from ..reference.faces.find_faces import faces_in
from .pixels import Pixels

EVERY = 4  # video frames a latent frame, whose last one is looked at


def face_places(pixels: Pixels, detector: Detector | None) -> Tensor:
    """(T', 2, 3), one for each latent frame, for `alignment.crops_at`; NaN where no face is seen.

    Args:
        detector: aligns faces by their landmarks; None takes the middle of each square for the face, which is where a
            drawn face is, as for the face embedding.
    """
    if pixels.face_squares is None:
        raise SlotIDError("It is not known where in the video the face is. Prepare the toy world, or read a clip.")
    pairs = zip(pixels.video[::EVERY], pixels.face_squares[::EVERY], strict=True)
    return torch.stack([_place(frame, square, detector) for frame, square in pairs])


def _place(frame: Tensor, square: np.ndarray, detector: Detector | None) -> Tensor:
    height, width = frame.shape[:2]
    left, top, side = square.tolist()
    if detector is None:
        return crop_place(landmarks_from_box((left, top, left + side, top + side)), height, width)
    face = max(
        (face for face in faces_in(frame, detector) if _middle_is_in(face, left, top, side)),
        key=lambda face: area(face.box),
        default=None,
    )
    if face is None:
        return torch.full((2, 3), float("nan"))
    landmarks = landmarks_from_box(box_of(face.box)) if face.landmarks is None else face.landmarks
    return crop_place(landmarks, height, width)


def _middle_is_in(face: Face, left: float, top: float, side: float) -> bool:
    x, y = (face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2
    return left <= x <= left + side and top <= y <= top + side
