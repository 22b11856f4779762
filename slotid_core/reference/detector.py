"""Face detectors: insightface when its models are there, else the cascade that the machine's libraries bundle."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from ..errors import SlotIDError
from .face import Detect, Face, merge_hits

CHOICES = ("auto", "insightface", "cascade")
INSIGHTFACE_FILES = ("det_*.onnx", "scrfd*.onnx", "retinaface*.onnx")
SMALLEST_SHARE = 0.11  # of the picture's shorter side; cascades see faces in textures below it
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Detector:
    """`detect` takes one picture; `working_side` is the shorter side, in pixels, at which it works best."""

    name: str
    detect: Detect
    working_side: int


def find_detector(model_folders: Sequence[Path | str] = (), choice: str = "auto") -> Detector:
    """The best detector this machine has.

    Args:
        model_folders: where insightface's ONNX packs may lie, at any depth, such as ComfyUI's models/insightface.
        choice: "auto", "insightface" or "cascade".

    Raises:
        SlotIDError: the chosen one is not installed.
    """
    if choice not in CHOICES:
        raise SlotIDError(f"There is no face detector {choice!r}. Choose one of {', '.join(CHOICES)}.")
    folders = tuple(str(folder) for folder in model_folders)
    if choice != "cascade":
        detector, reason = _insightface(folders)
        if detector is not None:
            return detector
        if choice == "insightface":
            raise SlotIDError(f"insightface cannot run: {reason} Or set the detector to auto.")
        _announce_fallback(reason)
    return _cascade()


@cache
def _announce_fallback(reason: str) -> None:
    logger.warning("Slot-ID finds faces with %s, which sees frontal faces only: %s", _cascade().name, reason)


@lru_cache(maxsize=4)
def _insightface(folders: tuple[str, ...]) -> tuple[Detector | None, str]:
    files = [
        file for folder in folders for pattern in INSIGHTFACE_FILES for file in sorted(Path(folder).rglob(pattern))
    ]
    if not files:
        where = ", ".join(folders) or "models/insightface"
        return (
            None,
            f"no detection model ({', '.join(INSIGHTFACE_FILES)}) lies in {where}. Put an insightface pack there.",
        )
    try:
        from insightface.model_zoo import get_model
    except ImportError as error:
        return None, f"the insightface package is not installed ({error}). Install insightface and onnxruntime."
    try:
        model = get_model(str(files[0]), providers=_onnx_providers())
        if getattr(model, "taskname", None) != "detection":
            return None, f"{files[0].name} is not a face detector. Put an insightface pack's det_*.onnx there."
        model.prepare(ctx_id=0, input_size=(640, 640))
    except Exception as error:  # noqa: BLE001  ONNX files fail to load in many ways, and each means the same here
        return None, f"{files[0].name} does not load ({error}). Download the pack again."

    def detect(image: np.ndarray, smallest: int) -> list[Face]:
        boxes, landmarks = model.detect(np.ascontiguousarray(image[..., ::-1]))  # it expects BGR
        points = [None] * len(boxes) if landmarks is None else landmarks
        return [
            Face(tuple(map(float, box[:4])), float(box[4]), point) for box, point in zip(boxes, points, strict=True)
        ]

    return Detector(f"insightface {files[0].stem}", detect, working_side=480), ""


def _onnx_providers() -> list[str]:
    import onnxruntime

    available = onnxruntime.get_available_providers()
    return [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]


@lru_cache(maxsize=1)
def _cascade() -> Detector:
    """OpenCV 4's Haar cascade, or scikit-image's LBP cascade (OpenCV 5 has none)."""
    try:
        import cv2

        path = Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"
        if hasattr(cv2, "CascadeClassifier") and path.is_file():
            return Detector("OpenCV Haar cascade", _haar(cv2.CascadeClassifier(str(path))), working_side=256)
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
