"""Are the eyes open, is the mouth at rest: how dark the places are where iris and open mouth lie.

Both are judged against the other frames of the same clip, because lashes, brows and lips differ from person to person.
"""

import numpy as np
import torch

from ..faces.face import Box, Face

# In a frontal-face box, as shares of it: left, top, right, bottom. Used where the detector sees no landmarks.
EYES = ((0.12, 0.26, 0.45, 0.50), (0.55, 0.26, 0.88, 0.50))
MOUTH = (0.25, 0.66, 0.75, 0.98)
EYE_REACH, MOUTH_REACH = 0.3, 0.45  # of the distance of the eyes, around the landmarks
USUAL_EYES = 0.75  # quantile: eyes are open most of the time
SHUT, OPEN = 0.4, 0.9  # of the usual darkness
WIDE = 0.6  # darkness above the median at which a mouth counts as wide open


def darkness_of_eyes_and_mouth(frame: torch.Tensor, face: Face) -> tuple[float, float]:
    """(H, W, 3) -> how dark the less open eye and the mouth are, relative to the skin around them."""
    eyes, mouth = _places(face)
    return min(_darkness(frame, eye) for eye in eyes), _darkness(frame, mouth)


def openness_and_rest(darkness: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) of the frames of one clip -> eyes open and mouth at rest, (N,) each in [0, 1]."""
    usual_eyes = max(float(np.quantile(darkness[:, 0], USUAL_EYES)), 1e-4)
    usual_mouth = max(float(np.median(darkness[:, 1])), 1e-4)
    eyes_open = (darkness[:, 0] / usual_eyes - SHUT) / (OPEN - SHUT)
    at_rest = 1 - (darkness[:, 1] / usual_mouth - 1) / WIDE
    return eyes_open.clip(0, 1), at_rest.clip(0, 1)


def _places(face: Face) -> tuple[list[Box], Box]:
    if face.landmarks is None:
        left, top, right, bottom = face.box
        corner, size = np.array([left, top] * 2), np.array([right - left, bottom - top] * 2)
        return [tuple(corner + size * np.array(eye)) for eye in EYES], tuple(corner + size * np.array(MOUTH))
    left_eye, right_eye, _, left_corner, right_corner = face.landmarks
    distance = float(np.linalg.norm(right_eye - left_eye))
    eyes = [_around(eye, EYE_REACH * distance) for eye in (left_eye, right_eye)]
    return eyes, _around((left_corner + right_corner) / 2, MOUTH_REACH * distance)


def _around(point: np.ndarray, reach: float) -> Box:
    return point[0] - reach, point[1] - reach, point[0] + reach, point[1] + reach


def _darkness(frame: torch.Tensor, box: Box) -> float:
    """Mean square of what is missing to the place's own skin, which is its 75 % quantile."""
    height, width = frame.shape[:2]
    left, top = (int(min(max(0, value), limit - 1)) for value, limit in zip(box[:2], (width, height), strict=True))
    right, bottom = max(left + 1, int(box[2])), max(top + 1, int(box[3]))
    place = frame[top:bottom, left:right, :3].float().mean(dim=-1)
    skin = torch.quantile(place, 0.75)
    return float(((skin - place).clamp(min=0) / skin.clamp(min=0.05)).square().mean())
