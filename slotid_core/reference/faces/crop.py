"""A steady square around a moving face: smooth in centre and size, and never cutting the face."""

import math

import numpy as np
import torch
import torch.nn.functional as functional

CLOSEST_MARGIN = 0.1  # of the face's side: what smoothing must leave around the face on every frame


def square_path(boxes: np.ndarray, height: int, width: int, margin: float, smoothing: int) -> np.ndarray:
    """Face boxes -> one square per frame that contains the face with some margin.

    The centre is a moving average of the face's. The side is at least a moving average of a moving maximum of what
    each frame needs, and such an average cannot fall below any single need. A square that fits into the frame is
    shifted into it, so padding appears only where the face itself needs more than the frame has.

    Args:
        boxes: (T, 4) left, top, right, bottom in pixels, any part outside the frame is ignored.
        margin: wanted space on each side, as a share of the face's side.
        smoothing: frames on each side that take part in the average.

    Returns:
        (T, 3) left, top, side in pixels.
    """
    boxes = boxes.clip(0, [width, height, width, height])
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2  # (T, 2)
    face_side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)  # (T,)
    smooth_centre = np.stack([moving_average(centre[:, axis], smoothing) for axis in (0, 1)], axis=1)
    reach = np.maximum(boxes[:, 2:] - smooth_centre, smooth_centre - boxes[:, :2]).max(axis=1)
    needed = moving_average(moving_maximum(2 * reach + 2 * CLOSEST_MARGIN * face_side, smoothing), smoothing)
    wanted = moving_average(face_side * (1 + 2 * margin), 2 * smoothing)
    side = np.maximum(np.minimum(wanted, min(height, width)), needed)
    corner = smooth_centre - side[:, None] / 2
    for axis, extent in ((0, width), (1, height)):
        fits = side <= extent
        corner[fits, axis] = corner[fits, axis].clip(0, (extent - side)[fits])
    return np.concatenate([corner, side[:, None]], axis=1)


def moving_average(values: np.ndarray, radius: int) -> np.ndarray:
    """Hann-weighted average over `radius` frames on each side; the ends are held."""
    if radius < 1:
        return values
    weights = np.hanning(2 * radius + 3)[1:-1]
    return np.convolve(np.pad(values, radius, mode="edge"), weights / weights.sum(), mode="valid")


def moving_maximum(values: np.ndarray, radius: int) -> np.ndarray:
    padded = np.pad(values, radius, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1).max(axis=1)


def cut_squares(frames: torch.Tensor, squares: np.ndarray, size: int) -> torch.Tensor:
    """Cuts with sub-pixel precision; beyond the border the picture is mirrored.

    Args:
        frames: (T, H, W, 3).
        squares: (T, 3) left, top, side in pixels.
        size: side of the result in pixels.

    Returns:
        (T, size, size, 3), values in the range of the input's.
    """
    return torch.stack([_cut(frame, square, size) for frame, square in zip(frames, squares, strict=True)])


def resized(frames: torch.Tensor, side: int) -> torch.Tensor:
    """Square frames (T, H, H, 3) -> (T, side, side, 3), averaged where they shrink."""
    moved = functional.interpolate(frames.movedim(-1, 1), size=(side, side), mode="bilinear", antialias=True)
    return moved.movedim(1, -1)


def _cut(frame: torch.Tensor, square: np.ndarray, size: int) -> torch.Tensor:
    height, width = frame.shape[:2]
    left, top, side = (float(value) for value in square)
    finer = max(1, math.ceil(side / size))  # sampling finer and averaging keeps a large square from aliasing
    steps = (torch.arange(size * finer, device=frame.device, dtype=torch.float32) + 0.5) * side / (size * finer)
    x = ((left + steps) * 2 / width - 1).expand(len(steps), -1)  # (n, n), -1 and 1 are the borders
    y = ((top + steps) * 2 / height - 1)[:, None].expand(-1, len(steps))
    picture = functional.grid_sample(
        frame.permute(2, 0, 1)[None].float(),
        torch.stack([x, y], dim=-1)[None],
        mode="bicubic" if finer == 1 else "bilinear",
        padding_mode="reflection",
        align_corners=False,
    )
    return functional.avg_pool2d(picture, finer)[0].permute(1, 2, 0).clamp(0, 1)
