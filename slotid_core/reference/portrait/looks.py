"""What a face does in a picture, measured on its parts: where it looks, whether eyes are open and the mouth at rest."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .parts import BROWS, EYES, MOUTH, NOSE, SKIN

LEAST_PIXELS = 6  # of a part, or it is not seen
CLOSED = 0.35  # of the clip's usual opening: below it an eye counts as shut
ASIDE = 0.45  # of half an eye's width that the iris is away from the middle: somebody looks aside
EYEBALL = 0.0008  # of the face's area: what is seen of a narrow eye
USUAL = 0.8  # quantile: eyes are open most of the time
AT_REST = 0.3  # quantile: a mouth is at rest at least so often
LIFT_NOISE, LIFT_SMILE = 0.02, 0.12  # rise of the corners that means nothing, and that is a smile


@dataclass(frozen=True)
class Looks:
    """One face in one picture.

    Attributes:
        landmarks: (5, 2) x, y in pixels of eyes, nose and mouth corners; NaN for what is not seen.
        opening: of the less open eye, its visible area over the squared distance of the eyes; 0 is shut, NaN unknown.
        gaze: how far the irises are from the middle of the eyes, in halves of the eye's width; NaN where none is seen.
        mouth: the mouth's area over the squared distance of the eyes; larger when it is open.
        lift: how far the mouth's corners lie above its middle, over the distance of the eyes; larger in a smile, NaN
            where no mouth is seen.
        eyes_seen: how sure it is that the less open eye shows its eyeball, 0 to 1; NaN unknown.
        turn: how far the head is turned, 0 to the camera, 1 in profile; NaN where no nose and no mouth is seen.
    """

    landmarks: np.ndarray
    opening: float
    gaze: float
    mouth: float
    lift: float
    eyes_seen: float
    turn: float


def looks_of(parts: Tensor, luminance: Tensor, scale: float) -> Looks:
    """Measures one face.

    Args:
        parts: (7, H, W) probabilities, as `parts.find_parts` gives them.
        luminance: (H, W) of the same picture.
        scale: side of the face's box in pixels, which stands in for the distance of the eyes where one is shut.
    """
    points = np.full((5, 2), np.nan)
    nose = _centre(parts[NOSE])
    across = float(nose[0]) if nose is not None else None
    mouth = parts[MOUTH]
    left, right = _halves(parts[EYES], across)
    eyes = [_centre(half) for half in (left, right)]
    for index, eye in enumerate(eyes):
        if eye is not None:
            points[index] = eye
    if nose is not None:
        points[2] = nose
    points[3:] = _corners(mouth)
    apart = 0.4 * scale
    if eyes[0] is not None and eyes[1] is not None:
        apart = max(float(np.hypot(*(points[1] - points[0]))), 0.15 * scale)
    areas = [float(half.sum()) / apart**2 for half in (left, right)]
    sides = [_gaze(half, luminance) for half, eye in zip((left, right), eyes, strict=True) if eye is not None]
    return Looks(
        landmarks=points,
        opening=min(areas) if nose is not None else float("nan"),
        gaze=float(abs(np.mean(sides))) if sides else float("nan"),
        mouth=float(mouth.sum()) / apart**2,
        lift=_lift(mouth, points[3:]) / apart,
        eyes_seen=eyes_seen(parts, points, scale),
        turn=turn(parts, points),
    )


def eyes_seen(parts: Tensor, landmarks: np.ndarray, side: float) -> float:
    """How sure it is that the less open eye shows its eyeball: narrow eyes show few pixels of it, shut ones none.

    Args:
        parts: (7, H, W) probabilities.
        landmarks: (5, 2), NaN for what is not seen.
        side: of the face's box in pixels.
    """
    middle = landmarks[2] if np.isfinite(landmarks[2]).all() else landmarks[3:].mean(axis=0)
    if not np.isfinite(middle).all():
        return math.nan
    column = int(min(max(1, round(middle[0])), parts.shape[-1] - 1))
    few = max(1, round(EYEBALL * side**2))
    halves = [parts[EYES, :, :column], parts[EYES, :, column:]]
    return float(min(half.flatten().topk(min(few, half.numel())).values.mean() for half in halves))


def turn(parts: Tensor, landmarks: np.ndarray) -> float:
    """How far the head is turned: 0 to the camera, 1 in profile; NaN where no nose and no mouth is seen.

    It is where the nose lies between the face's left and right edge, and between the eyes if both are seen.

    Args:
        parts, landmarks: as in `eyes_seen`.
    """
    middle = landmarks[2] if np.isfinite(landmarks[2]).all() else landmarks[3:].mean(axis=0)
    if not np.isfinite(middle).all():
        return math.nan
    face = (parts[BROWS : SKIN + 1].sum(dim=0) > 0.5).cpu().numpy()
    rows = face[int(max(0, middle[1] - 0.03 * len(face))) : int(middle[1] + 0.03 * len(face)) + 1]
    columns = np.flatnonzero(rows.any(axis=0))
    if not len(columns):
        return math.nan
    between_edges = abs(2 * (middle[0] - columns[0] - 0.5) / max(columns[-1] - columns[0], 1) - 1)
    eyes = landmarks[:2]
    if not np.isfinite(eyes).all():
        return min(1.0, float(between_edges))
    across = eyes[1] - eyes[0]
    between_eyes = abs(2 * float(np.dot(middle - eyes[0], across)) / max(float(np.dot(across, across)), 1e-6) - 1)
    return min(1.0, (float(between_edges) + between_eyes) / 2)


def openness(openings: np.ndarray) -> np.ndarray:
    """Openings (N,) of one clip -> eyes open, from 0, shut, to 1, as far as they usually are."""
    known = openings[np.isfinite(openings)]
    usual = float(np.quantile(known, USUAL)) if len(known) else 0.0
    if usual <= 0:
        return np.zeros(len(openings))
    share = np.nan_to_num(openings) / usual
    return ((share - CLOSED) / (0.9 - CLOSED)).clip(0, 1)


def rest(mouths: np.ndarray, lifts: np.ndarray) -> np.ndarray:
    """Areas and lifts (N,) of the mouth in one clip -> mouth at rest, from 0, wide open or a broad smile, to 1."""
    usual = max(float(np.quantile(mouths, AT_REST)), 1e-4)
    closed = (1 - (mouths / usual - 1).clip(0) / 0.8).clip(0, 1)
    known = lifts[np.isfinite(lifts)]
    if not len(known):
        return closed
    rise = np.nan_to_num(lifts - np.quantile(known, AT_REST))
    return closed * (1 - (rise - LIFT_NOISE) / (LIFT_SMILE - LIFT_NOISE)).clip(0, 1)


def looking_ahead(gaze: np.ndarray) -> np.ndarray:
    """Gaze (N,) -> 1 when it goes straight ahead, 0 at `ASIDE` and beyond; one half where it is not known."""
    return np.where(np.isfinite(gaze), (1 - np.nan_to_num(gaze) / ASIDE).clip(0, 1), 0.5)


def _centre(share: Tensor) -> np.ndarray | None:
    """x, y of the middle of what is there."""
    certain = share * (share > 0.4)
    total = float(certain.sum())
    if total < LEAST_PIXELS:
        return None
    y, x = torch.meshgrid(torch.arange(share.shape[0]) + 0.5, torch.arange(share.shape[1]) + 0.5, indexing="ij")
    return np.array([float((certain * x).sum()) / total, float((certain * y).sum()) / total])


def _halves(eyes: Tensor, across: float | None) -> tuple[Tensor, Tensor]:
    """Left and right eye, parted at the nose's column, or at their middle."""
    if across is None:
        middle = _centre(eyes)
        across = eyes.shape[1] / 2 if middle is None else float(middle[0])
    columns = torch.arange(eyes.shape[1]) + 0.5
    certain = eyes * (eyes > 0.4)
    return certain * columns.lt(across), certain * columns.ge(across)


def _corners(mouth: Tensor) -> np.ndarray:
    found = torch.nonzero(mouth > 0.4)
    if len(found) < LEAST_PIXELS:
        return np.full((2, 2), np.nan)
    left, right = found[found[:, 1].argmin()], found[found[:, 1].argmax()]
    return np.array([[left[1], left[0]], [right[1], right[0]]], dtype=float) + 0.5


def _lift(mouth: Tensor, corners: np.ndarray) -> float:
    """Pixels by which the corners lie above the middle of the mouth; NaN if it is not seen."""
    middle = _centre(mouth)
    return float("nan") if middle is None else float(middle[1] - corners[:, 1].mean())


def _gaze(eye: Tensor, luminance: Tensor) -> float:
    """How far the dark iris lies from the middle of an eye, in halves of its width, positive to the right."""
    inside = eye > 0.4
    columns = torch.nonzero(inside.any(dim=0))[:, 0].float() + 0.5
    half = float(columns.max() - columns.min() + 1) / 2
    light = luminance[inside]
    darkness = (light.quantile(0.7) - luminance).clamp(min=0) * inside
    total = float(darkness.sum())
    if total <= 0 or half < 2:
        return 0.0
    x = torch.arange(eye.shape[1]) + 0.5
    return (float((darkness * x).sum()) / total - float(columns.mean())) / half
