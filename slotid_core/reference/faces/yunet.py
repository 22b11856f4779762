"""YuNet, a small neural face detector (MIT licence), when one of its published ONNX files lies in a model folder.

OpenCV runs a file where its FaceDetectorYN understands it. That depends on both: OpenCV 4.5.4 to 4.7 read the files of
2022, later ones those of 2023 and after. Everything else runs in onnxruntime.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from ...errors import SlotIDError
from .face import Detector, Face
from .insightface_models import onnx_providers
from .yunet_format import STRIDES, layout_of, rows_of, without_doubles

FILES = "*yunet*.onnx"
LEAST_SCORE = 0.7
WORKING_SIDE = 320
SIDES_ARE_MULTIPLES_OF = 32
LEAST_TRIAL = 64  # pixels on each side of the blank picture that a file is tried on


def find_yunet(folders: tuple[str, ...]) -> tuple[Detector | None, str]:
    """The detector, or None and the reason, with its remedy. Of several files the first that runs is taken."""
    files = [file for folder in folders for file in sorted(Path(folder).rglob(FILES))]
    if not files:
        where = ", ".join(folders) or "models/face_detection"
        return None, f"no {FILES} lies in {where}. Put face_detection_yunet_2023mar.onnx there."
    reasons = []
    for file in files:
        try:
            return _load(file), ""
        except SlotIDError as error:
            reasons.append(str(error))
    return None, " ".join(reasons)


@lru_cache(maxsize=4)  # what fails is not remembered: the next try may find another file
def _load(file: Path) -> Detector:
    reasons = []
    for name, make in (("OpenCV", _by_opencv), ("onnxruntime", _by_onnxruntime)):
        try:
            return make(file)
        except (ImportError, AttributeError) as error:
            reasons.append(f"{name} with what it needs is not installed ({error})")
        except Exception as error:  # cv2.error, and what ONNX files fail with
            reasons.append(f"{name}: {str(error).strip().splitlines()[0]}")
    raise SlotIDError(
        f"{file.name} does not load ({'; '.join(reasons)}). Download it again, or install onnxruntime or OpenCV 4.5.4 "
        "and newer."
    )


def _by_opencv(file: Path) -> Detector:
    import cv2

    model = cv2.FaceDetectorYN.create(str(file), "", (WORKING_SIDE, WORKING_SIDE), LEAST_SCORE)

    def detect(image: np.ndarray, smallest: int) -> list[Face]:
        model.setInputSize((image.shape[1], image.shape[0]))
        found = model.detect(np.ascontiguousarray(image[..., ::-1]))[1]
        return [] if found is None else [_face(row) for row in found]

    # Files of another generation load, and fail when they run.
    detect(np.zeros((LEAST_TRIAL, LEAST_TRIAL, 3), np.uint8), 0)
    return Detector(f"YuNet {file.stem}", detect, WORKING_SIDE)


def _by_onnxruntime(file: Path) -> Detector:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_mem_reuse = False  # files give the lengths of all three grids one name, as if they were equal
    session = onnxruntime.InferenceSession(str(file), options, providers=onnx_providers())
    picture = session.get_inputs()[0]
    names = [output.name for output in session.get_outputs()]
    layout = layout_of(names)
    height, width = (side if isinstance(side, int) else None for side in picture.shape[2:])
    largest = min((side for side in (height, width) if side), default=WORKING_SIDE)

    def detect(image: np.ndarray, smallest: int) -> list[Face]:
        canvas, scale = _on_canvas(image, height, width)
        blob = canvas[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)  # BGR, 0 to 255
        found = session.run(names, {picture.name: blob})
        outputs = {name: np.asarray(values) for name, values in zip(names, found, strict=True)}
        rows = without_doubles(rows_of(outputs, layout, canvas.shape[:2], LEAST_SCORE))
        return [_face(row).scaled(1 / scale) for row in rows]

    detect(np.zeros((LEAST_TRIAL, LEAST_TRIAL, 3), np.uint8), 0)
    return Detector(f"YuNet {file.stem} (onnxruntime)", detect, min(WORKING_SIDE, largest))


def _on_canvas(image: np.ndarray, height: int | None, width: int | None) -> tuple[np.ndarray, float]:
    """The picture in the upper left of a black one that the file takes, shrunk where it must be, and by how much."""
    from PIL import Image

    tall, wide = image.shape[:2]
    scale = min(1.0, (height or tall) / tall, (width or wide) / wide)
    if scale < 1:
        tall, wide = max(1, int(tall * scale)), max(1, int(wide * scale))
        image = np.asarray(Image.fromarray(image).resize((wide, tall), Image.Resampling.BILINEAR))
    canvas = np.zeros((height or _padded(tall), width or _padded(wide), 3), np.uint8)
    canvas[:tall, :wide] = image
    return canvas, scale


def _padded(side: int) -> int:
    return -(-max(side, STRIDES[-1]) // SIDES_ARE_MULTIPLES_OF) * SIDES_ARE_MULTIPLES_OF


def _face(row: np.ndarray) -> Face:
    """15 numbers, as OpenCV has them: left, top, width, height, five landmarks, score."""
    left, top, width, height = (float(value) for value in row[:4])
    return Face((left, top, left + width, top + height), float(row[14]), row[4:14].reshape(5, 2).astype(np.float64))
