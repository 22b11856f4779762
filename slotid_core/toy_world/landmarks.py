"""Where eyes, nose and mouth of a drawn head are, from the same numbers that the renderer draws with."""

import numpy as np

from .motion import Motion
from .person import Person
from .render import CLOSE_UP, DROP, NECK, PIVOT
from .scene import Scene

EYE_HEIGHT, NOSE_TOP, MOUTH_HEIGHT = -0.06, 0.06, 0.26
BALL = 0.98  # radius of the ball on which features sit, as a share of half the head's width
TURNED_AWAY = 0.35  # cosine of a feature's angle below which it can hardly be seen


def face_landmarks(person: Person, scene: Scene, motion: Motion, size: int) -> np.ndarray:
    """(T, 5, 2) x, y in pixels of frames of `size`: eyes, nose, mouth corners, from the picture's left to its right."""
    width = 0.36 + 0.07 * person.face_width
    eye = 0.36 + 0.14 * person.eye_spacing
    mouth = 0.1 + 0.06 * person.mouth_width
    smile = 1 + 0.22 * np.clip(motion.smile_left + motion.smile_right, 0, None) / 2
    half_mouth = mouth * smile * np.clip(np.cos(motion.yaw), 0.25, None)
    middle = BALL * width * np.sin(motion.yaw)
    rise = 0.25 * 0.1 * (motion.smile_left + motion.smile_right)
    points = [
        (BALL * width * np.sin(motion.yaw - eye), np.full_like(motion.yaw, EYE_HEIGHT)),
        (BALL * width * np.sin(motion.yaw + eye), np.full_like(motion.yaw, EYE_HEIGHT)),
        (middle + 0.06 * np.sin(motion.yaw), np.full_like(motion.yaw, NOSE_TOP + 0.07 * person.nose_length)),
        (middle - half_mouth, MOUTH_HEIGHT - rise),
        (middle + half_mouth, MOUTH_HEIGHT - rise),
    ]
    on_screen = [_to_screen(x, y + 0.22 * motion.pitch, scene, motion) for x, y in points]
    return (np.stack([np.stack(point, axis=-1) for point in on_screen], axis=1) + 1) * size / 2


def eyes_open(person: Person, motion: Motion) -> np.ndarray:
    """(T, 2) from 0, closed, to 1; NaN for an eye that is turned away. The picture's left eye first."""
    eye = 0.36 + 0.14 * person.eye_spacing
    facing = np.stack([np.cos(motion.yaw - eye), np.cos(motion.yaw + eye)], axis=1)
    return np.where(facing > TURNED_AWAY, np.clip(motion.eye_open, 0, 1)[:, None], np.nan)


def _to_screen(x: np.ndarray, y: np.ndarray, scene: Scene, motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of the head, whose origin is the middle of the face, to those of the frame, from -1 to 1."""
    below = y - PIVOT - NECK
    body_x = x * np.cos(motion.roll) - below * np.sin(motion.roll)
    body_y = PIVOT + x * np.sin(motion.roll) + below * np.cos(motion.roll)
    zoom = CLOSE_UP * scene.zoom
    return body_x * zoom + scene.shift_x, (body_y + motion.bob) * zoom + scene.shift_y + DROP
