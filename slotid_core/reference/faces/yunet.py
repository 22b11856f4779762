"""YuNet through OpenCV, when its small ONNX file (227 KB, MIT licence) lies in a model folder."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from .face import Detector, Face

FILES = "*yunet*.onnx"
LEAST_SCORE = 0.7


def find_yunet(folders: tuple[str, ...]) -> tuple[Detector | None, str]:
    """The detector, or None and the reason, with its remedy."""
    files = [file for folder in folders for file in sorted(Path(folder).rglob(FILES))]
    if not files:
        where = ", ".join(folders) or "models/face_detection"
        return None, f"no {FILES} lies in {where}. Put face_detection_yunet_2023mar.onnx there."
    try:
        return _load(files[0]), ""
    except (ImportError, AttributeError) as error:
        return None, f"OpenCV with FaceDetectorYN (4.5.4 or newer) is not installed ({error})."
    except Exception as error:  # cv2.error, and what ONNX files fail with
        return None, f"{files[0].name} does not load ({error}). Download it again."


@lru_cache(maxsize=4)  # what fails is not remembered: the next try may find another file
def _load(file: Path) -> Detector:
    import cv2

    model = cv2.FaceDetectorYN.create(str(file), "", (320, 320), LEAST_SCORE)

    def detect(image: np.ndarray, smallest: int) -> list[Face]:
        model.setInputSize((image.shape[1], image.shape[0]))
        found = model.detect(np.ascontiguousarray(image[..., ::-1]))[1]  # rows of 15: box, five landmarks, score
        return [] if found is None else [_face(row) for row in found]

    return Detector(f"YuNet {file.stem}", detect, working_side=320)


def _face(row: np.ndarray) -> Face:
    left, top, width, height = (float(value) for value in row[:4])
    return Face((left, top, left + width, top + height), float(row[14]), row[4:14].reshape(5, 2).astype(np.float64))
