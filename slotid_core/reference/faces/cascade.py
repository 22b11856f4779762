"""Face detection that needs no models of its own: cascades of frontal faces that the machine's libraries bundle."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from ...errors import SlotIDError
from .face import Detect, Detector, Face, merge_hits

SMALLEST_SHARE = 0.11  # of the picture's shorter side; cascades see faces in textures below it


@lru_cache(maxsize=1)
def find_cascade() -> Detector:
    """OpenCV 4's Haar cascade, or scikit-image's LBP cascade (OpenCV 5 has none)."""
    try:
        import cv2

        # OpenCV 5 has neither of these names, OpenCV 4 has both.
        path = Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"  # pyright: ignore[reportAttributeAccessIssue]
        if hasattr(cv2, "CascadeClassifier") and path.is_file():
            cascade = cv2.CascadeClassifier(str(path))  # pyright: ignore[reportAttributeAccessIssue]
            return Detector("OpenCV Haar cascade", _haar(cascade), working_side=256)
    except (ImportError, AttributeError):
        pass
    try:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade
    except ImportError as error:
        raise SlotIDError(
            f"No face detector is installed ({error}). Install this pack's requirements.txt (scikit-image)."
        ) from error
    return Detector("scikit-image LBP cascade", _lbp(Cascade(lbp_frontal_face_cascade_filename())), working_side=256)


def _haar(cascade) -> Detect:
    def detect(image: np.ndarray, smallest: int) -> list[Face]:
        smallest = max(smallest, round(SMALLEST_SHARE * min(image.shape[:2])))
        hits = cascade.detectMultiScale(
            _luminance(image).astype(np.uint8), scaleFactor=1.12, minNeighbors=0, minSize=(smallest, smallest)
        )
        return merge_hits(_corners(hits), min_support=5)

    return detect


def _lbp(cascade) -> Detect:
    def search(picture: np.ndarray, smallest: int, scale_factor: float, step_ratio: float) -> list[Face]:
        side = min(picture.shape)
        smallest = max(24, smallest, round(SMALLEST_SHARE * side))
        hits = cascade.detect_multi_scale(
            picture,
            scale_factor=scale_factor,
            step_ratio=step_ratio,
            min_size=(smallest, smallest),
            max_size=(side, side),
            min_neighbor_number=1,
            intersection_score_threshold=1.0,  # no grouping here: the number of hits is the only score there is
        )
        return merge_hits(_corners([(hit["c"], hit["r"], hit["width"], hit["height"]) for hit in hits]), min_support=3)

    def detect(image: np.ndarray, smallest: int) -> list[Face]:
        picture = _luminance(image) / 255
        quick = search(picture, smallest, scale_factor=1.15, step_ratio=1.5)
        return quick or search(picture, smallest, scale_factor=1.1, step_ratio=1.0)

    return detect


def _luminance(image: np.ndarray) -> np.ndarray:
    return image @ np.array([0.299, 0.587, 0.114])


def _corners(hits) -> np.ndarray:
    """left, top, width, height -> left, top, right, bottom"""
    hits = np.asarray(hits, dtype=float).reshape(-1, 4)
    return np.concatenate([hits[:, :2], hits[:, :2] + hits[:, 2:]], axis=1)
