"""Where a head looks, from five landmarks.

Weak perspective: the landmarks are a rotated, scaled and shifted orthographic picture of a model face, whose rotation
is fitted by least squares and then made a proper one.
"""

import numpy as np

# Eyes, nose tip, mouth corners of an average face. Unit: the distance of the eyes; x right, y down, z away from the
# camera, as the picture sees it.
MODEL = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.6, -0.42], [-0.4, 1.1, -0.05], [0.4, 1.1, -0.05]])


def head_angles(landmarks: np.ndarray) -> tuple[float, float, float]:
    """(5, 2) landmarks in pixels -> yaw, pitch, roll in degrees.

    Yaw is positive when the nose points to the right of the picture, pitch when it points up, roll when the head is
    tilted clockwise.
    """
    model, points = MODEL - MODEL.mean(axis=0), landmarks - landmarks.mean(axis=0)
    fitted = np.linalg.lstsq(model, points, rcond=None)[0].T  # (2, 3): two rows of the rotation, times the scale
    left, _, right = np.linalg.svd(fitted, full_matrices=False)
    across, down = left @ right
    forward = np.cross(across, down)
    yaw = np.arctan2(-across[2], forward[2])
    pitch = np.arctan2(down[2], np.hypot(across[2], forward[2]))
    roll = np.arctan2(down[0], down[1])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))
