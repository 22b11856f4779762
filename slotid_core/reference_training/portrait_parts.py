"""What each pixel of a London portrait shows, from its 189 delineation points and its colours."""

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import ConvexHull

from ..reference.portrait.parts import BROWS, EYES, HAIR, MOUTH, NONE, NOSE, SKIN

# Numbers of delineation points. Eyes and brows: the picture's left one, then the right one.
EYE_OUTLINES = ((18, 19, 20, 21, 22, 30, 29, 28), (23, 24, 25, 26, 27, 33, 32, 31))
UPPER_LIDS, LOWER_LIDS = ((18, 19, 20, 21, 22), (23, 24, 25, 26, 27)), ((18, 28, 29, 30, 22), (23, 31, 32, 33, 27))
CREASES = ((34, 35, 36, 37, 38), (39, 40, 41, 42, 43))
IRISES = (tuple(range(2, 10)), tuple(range(10, 18)))
BROW_OUTLINES = ((71, 72, 73, 74, 75, 76, 84, 83), (77, 78, 79, 80, 81, 82, 86, 85))
NOSE_HULL = (51, 53, 57, 59, 61, 62, 63, 64, 66, 67, 68, 69, 70, 65, 179, 182)
LIPS = (87, 88, 89, 90, 91, 92, 93, 108, 107, 106, 105, 104)
FACE = (*range(134, 145), 112, 113, 114, 133, 132, 131, 130, 129, 128, 127, 126, 125, 111, 110, 109)
HAIR_RING = tuple(range(147, 156))
CHIN = 129
PIXEL = 2  # the picture is drawn so many times larger, then shrunk


def part_map(pixels: np.ndarray, alpha: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Index of the part (H, W) uint8 that each pixel shows; parts are those of `reference.portrait.parts`.

    Args:
        pixels: (H, W, 3) in [0, 1]; alpha: (H, W).
        points: (189, 2) x, y in pixels.
    """
    shape = alpha.shape
    out = np.full(shape, NONE, dtype=np.uint8)
    face = polygon(points[list(FACE)], shape)
    out[_hair(pixels, alpha, points, face)] = HAIR
    ears = polygon(points[[109, 115, 116, 117, 118, 119, 111, 110]], shape)
    ears |= polygon(points[[112, 120, 121, 122, 123, 124, 114, 113]], shape)
    out[ears & (alpha > 0.5) & (out != HAIR)] = SKIN
    out[face] = SKIN
    for part, outlines in ((BROWS, BROW_OUTLINES), (EYES, EYE_OUTLINES), (MOUTH, (LIPS,))):
        for outline in outlines:
            out[polygon(points[list(outline)], shape)] = part
    nose = points[list(NOSE_HULL)]
    out[polygon(nose[ConvexHull(nose).vertices], shape)] = NOSE
    return out


def polygon(corners: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) bool."""
    picture = Image.new("L", (shape[1] * PIXEL, shape[0] * PIXEL))
    ImageDraw.Draw(picture).polygon([(float(x) * PIXEL, float(y) * PIXEL) for x, y in corners], fill=255)
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BOX)) > 127


def _hair(pixels: np.ndarray, alpha: np.ndarray, points: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Person outside the face whose colour is nearer to the hair around the forehead than to skin or shirt."""
    rows = np.arange(alpha.shape[0])[:, None]
    person, chin = alpha > 0.3, points[CHIN, 1]
    above = person & ~face & (rows < points[134:145, 1].max())
    ring = above & (rows < points[134:145, 1].min() + 0.35 * (chin - points[134:145, 1].min()))
    shirt = person & (pixels.min(axis=2) > 0.62) & (rows > chin)
    if ring.sum() < 50:
        return above
    light = pixels.mean(axis=2)
    skin = face & (light > np.quantile(light[face], 0.35))  # without brows, eyes and shadows
    smooth = np.stack([ndimage.gaussian_filter(pixels[..., c], 1.5) for c in range(3)], axis=2)
    distances = [_distance(smooth, smooth[kind]) for kind in (ring, skin, shirt) if kind.sum() >= 50]
    nearest_hair = distances[0] < np.minimum.reduce(distances[1:])
    hair = above | (person & ~face & ~shirt & nearest_hair)
    hair = ndimage.binary_opening(hair, iterations=1) | above
    label, _ = ndimage.label(hair)  # pyright: ignore[reportGeneralTypeIssues]
    return np.isin(label, np.unique(label[above & (label > 0)]))


def _distance(pixels: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Mahalanobis distance, and what it costs to be a wide distribution, (H, W)."""
    covariance = np.cov(samples, rowvar=False) + 4e-4 * np.eye(3)
    offset = pixels - np.median(samples, axis=0)
    squared = np.einsum("hwi,ij,hwj->hw", offset, np.linalg.inv(covariance), offset)
    return squared + np.linalg.slogdet(covariance)[1] + 25  # the logarithm is negative; 25 keeps the sum above 0
