"""Faces cut out of frames, as the network of face FID sees them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ...reference.faces.face import Box

SIDE = 299  # pixels that Inception sees
MARGIN = 1.3  # side of the square over the longer side of the face's box


def face_crops(pixels: Sequence[np.ndarray], boxes: Sequence[Box]) -> np.ndarray:
    """A square around each frame's face, moved inside the frame and brought to 299 pixels: (N, 299, 299, 3) uint8."""
    crops = []
    for frame, (left, top, right, bottom) in zip(pixels, boxes, strict=True):
        height, width = frame.shape[:2]
        side = min(MARGIN * max(right - left, bottom - top), height, width)
        x = min(max((left + right - side) / 2, 0.0), width - side)
        y = min(max((top + bottom - side) / 2, 0.0), height - side)
        image = Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=(x, y, x + side, y + side))
        crops.append(np.asarray(image))
    return np.stack(crops) if crops else np.empty((0, SIDE, SIDE, 3), np.uint8)
