"""Measurements of one face region: sharpness, exposure, light, pose and appearance."""

import math

import numpy as np
import torch
import torch.nn.functional as functional

from .face import Box

FACE_PIXELS = 96  # faces are compared at this size, so that sharpness does not depend on the distance to the camera
APPEARANCE = 16  # pixels on each side of the appearance vector: a box that trembles by a pixel or two does not count


def face_region(frame: torch.Tensor, box: Box) -> torch.Tensor:
    """(H, W, 3) in [0, 1] -> luminance of the box, (FACE_PIXELS, FACE_PIXELS), without what lies outside."""
    left, top, right, bottom = box
    height, width = frame.shape[:2]
    left, top = min(max(0, int(left)), width - 1), min(max(0, int(top)), height - 1)
    rows, columns = slice(top, max(top + 1, math.ceil(bottom))), slice(left, max(left + 1, math.ceil(right)))
    luminance = frame[rows, columns, :3].float() @ frame.new_tensor([0.299, 0.587, 0.114]).float()
    return functional.interpolate(luminance[None, None], size=(FACE_PIXELS, FACE_PIXELS), mode="area")[0, 0].cpu()


def sharpness(region: torch.Tensor) -> float:
    """Energy of the Laplacian relative to the region's contrast, squashed to [0, 1)."""
    kernel = region.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    edges = functional.conv2d(region[None, None], kernel)
    ratio = float(edges.std() / region.std().clamp(min=1e-3))
    return ratio / (ratio + 0.3)


def exposure(region: torch.Tensor) -> float:
    """1 for a face in the middle of the range with nothing black or blown out."""
    clipped = float(((region < 0.02) | (region > 0.98)).float().mean())
    return max(0.0, 1 - 2 * abs(float(region.mean()) - 0.5)) * (1 - clipped)


def side_light(region: torch.Tensor) -> float:
    """How much brighter one half of the face is than the other: 0 even, 1 when one half is black."""
    left, right = float(region[:, : FACE_PIXELS // 2].mean()), float(region[:, FACE_PIXELS // 2 :].mean())
    return abs(left - right) / max(left, right, 1e-3)


def appearance(region: torch.Tensor) -> np.ndarray:
    """Unit vector of the face's pattern of light and dark; the same under another brightness or contrast."""
    pattern = functional.adaptive_avg_pool2d(region[None], (APPEARANCE, APPEARANCE)).flatten().double().numpy()
    pattern = pattern - pattern.mean()
    return pattern / max(float(np.linalg.norm(pattern)), 1e-6)


def spread(vectors: np.ndarray) -> float:
    """How far (N, D) unit vectors lie from their mean, in [0, 1]: how much the face changes in its looks."""
    return float(np.sqrt(((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1).mean())) if len(vectors) else 0.0


def symmetry(region: torch.Tensor) -> float:
    """Best correlation of the face with its mirror image over small shifts: near 1 when it looks at the camera."""
    region = functional.adaptive_avg_pool2d(region[None], (20, 20))[0]  # coarse, so that blur is not taken for symmetry
    size = region.shape[1]
    best = 0.0
    for shift in range(-size // 8, size // 8 + 1):
        part = region[:, max(0, shift) : size + min(0, shift)]
        part = part - part.mean()
        mirrored = part.flip(1)
        best = max(best, float((part * mirrored).sum() / part.square().sum().clamp(min=1e-6)))
    return best


def nose_between_eyes(landmarks: np.ndarray) -> float:
    """1 when the nose lies midway between the eyes, 0 when below one of them; from (5, 2) landmarks."""
    left_eye, right_eye, nose = landmarks[:3]
    across = right_eye - left_eye
    place = float(np.dot(nose - left_eye, across) / max(float(np.dot(across, across)), 1e-6))  # 0..1 along the eye line
    return max(0.0, 1 - 2 * abs(place - 0.5))
