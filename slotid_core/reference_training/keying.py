"""A portrait before a plain studio background, cut out by its colour (difference matting)."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from .portrait_parts import CHIN, FACE, polygon

CLOSE, FAR = 0.06, 0.16  # distance in colour from the background: certainly the same, certainly another
EDGE, DEEP = 7, 16  # pixels of the border in which alpha is worked out: at the shoulders, around hair
NECK = 45  # pixels from chin to clothes
ROUNDS = 6  # of the robust fit


def key(picture: Tensor, points: np.ndarray) -> tuple[Tensor, Tensor]:
    """Cut the person out.

    Args:
        picture: (H, W, 3) in [0, 1]; background along the top and the upper sides, a smooth vignette.
        points: (189, 2) delineation points. The face is certainly person, and so are clothes; background shows
            through hair only.

    Returns:
        alpha (H, W) in [0, 1], and the person's own colours (H, W, 3), free of the background's where alpha is not 0.
    """
    pixels = picture.numpy().astype(np.float64)
    behind = vignette(pixels)
    distance = np.abs(pixels - behind).max(axis=2)
    below = np.arange(len(pixels))[:, None] > points[CHIN, 1] + NECK
    face = polygon(points[list(FACE)], distance.shape)
    close = ndimage.binary_opening(distance < CLOSE, iterations=1) & ~face
    outside = _touching_border(close) | (close & ~below)
    inner = ndimage.binary_erosion(distance > FAR, iterations=2, border_value=1) & ~outside
    inner |= ndimage.binary_erosion(~outside, iterations=EDGE, border_value=1) & below
    inner |= face
    inner |= ndimage.binary_erosion(~outside, iterations=DEEP, border_value=1)
    _, places = ndimage.distance_transform_edt(~inner, return_indices=True)  # pyright: ignore[reportGeneralTypeIssues]
    own = np.stack([ndimage.gaussian_filter(pixels[..., c], 1.0) for c in range(3)], axis=2)[places[0], places[1]]
    towards = own - behind
    alpha = ((pixels - behind) * towards).sum(2) / np.maximum((towards**2).sum(2), 1e-3)
    alpha = np.where(inner, 1.0, np.where(distance < 0.5 * CLOSE, 0.0, alpha)).clip(0, 1)
    alpha = alpha * ndimage.binary_dilation(_largest(alpha > 0.5), iterations=EDGE)
    clean = (pixels - (1 - alpha[..., None]) * behind) / np.maximum(alpha[..., None], 0.2)
    clean = np.where(alpha[..., None] > 0.2, clean, own).clip(0, 1)
    return torch.from_numpy(alpha).float(), torch.from_numpy(clean).float()


def vignette(pixels: np.ndarray) -> np.ndarray:
    """The background (H, W, 3) as a cubic in x and y, fitted to the border where no person is."""
    height, width = pixels.shape[:2]
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None] - 0.5
    terms = np.stack([x**i * y**j for i in range(4) for j in range(4 - i)], axis=2)
    border = np.zeros((height, width), dtype=bool)
    border[: height // 30] = True
    border[: height * 3 // 5, : width // 12] = True
    border[: height * 3 // 5, -(width // 12) :] = True
    weights = np.ones(int(border.sum()))
    for _ in range(ROUNDS):  # iteratively reweighted: hair that reaches the border counts for little
        coefficients = np.linalg.lstsq(terms[border] * weights[:, None], pixels[border] * weights[:, None], rcond=None)[
            0
        ]
        residual = np.abs(terms[border] @ coefficients - pixels[border]).max(axis=1)
        weights = 1 / (1 + (residual / 0.02) ** 2)
    return (terms @ coefficients).clip(0, 1)


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of (H, W)."""
    label, count = ndimage.label(mask)  # pyright: ignore[reportGeneralTypeIssues]
    sizes = np.bincount(label.ravel(), minlength=count + 1)
    sizes[0] = 0
    return label == sizes.argmax()


def _touching_border(mask: np.ndarray) -> np.ndarray:
    """The connected parts of (H, W) that reach the top or the sides."""
    label, _ = ndimage.label(mask)  # pyright: ignore[reportGeneralTypeIssues]
    reached = np.unique(np.concatenate([label[0], label[:, 0], label[:, -1]]))
    return np.isin(label, reached[reached > 0])
