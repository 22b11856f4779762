"""insightface's detectors and recognisers, from whatever packs lie in the model folders; nothing is downloaded."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from ...errors import SlotIDError
from .face import Detector, Face, box_of

DETECTION_FILES = ("det_*.onnx", "scrfd*.onnx", "retinaface*.onnx")
# What else a pack holds: landmarks in 2D and 3D, age and sex, face swapping. Loading them takes long.
NEITHER = ("det_", "scrfd", "retinaface", "2d106", "1k3d68", "genderage", "inswapper", "yunet", "face_detection")


class FaceDetector(Protocol):
    """An insightface model whose `taskname` is "detection"."""

    def prepare(self, ctx_id: int, *, input_size: tuple[int, int]) -> None: ...

    def detect(self, image: np.ndarray, /) -> tuple[np.ndarray, np.ndarray | None]: ...


class FaceRecogniser(Protocol):
    """An insightface model whose `taskname` is "recognition"."""

    input_size: tuple[int, int]

    def get_feat(self, crop: np.ndarray, /) -> np.ndarray: ...


def find_insightface(folders: tuple[str, ...]) -> tuple[Detector | None, str]:
    """The detector, with a recogniser where the folder has one too; or None and the reason, with its remedy."""
    files = [file for folder in folders for pattern in DETECTION_FILES for file in sorted(Path(folder).rglob(pattern))]
    if not files:
        where = ", ".join(folders) or "models/insightface"
        return (
            None,
            f"no detection model ({', '.join(DETECTION_FILES)}) lies in {where}. Put an insightface pack there.",
        )
    try:
        return _load(files[0]), ""
    except ImportError as error:
        return None, f"the insightface package is not installed ({error}). Install insightface and onnxruntime."
    except SlotIDError as error:
        return None, str(error)
    except Exception as error:  # ONNX files fail to load in many ways, and each means the same here
        return None, f"{files[0].name} does not load ({error}). Download the pack again."


@lru_cache(maxsize=4)  # what fails is not remembered: the next try may find another file
def _load(file: Path) -> Detector:
    from insightface.model_zoo import get_model

    model = get_model(str(file), providers=onnx_providers())
    if getattr(model, "taskname", None) != "detection":
        raise SlotIDError(f"{file.name} is not a face detector. Put an insightface pack's det_*.onnx there.")
    model = cast(FaceDetector, model)
    model.prepare(ctx_id=0, input_size=(640, 640))

    def detect(image: np.ndarray, smallest: int) -> list[Face]:
        boxes, landmarks = model.detect(np.ascontiguousarray(image[..., ::-1]))  # it expects BGR
        points = [None] * len(boxes) if landmarks is None else landmarks
        return [Face(box_of(box[:4]), float(box[4]), point) for box, point in zip(boxes, points, strict=True)]

    recogniser, embed = _find_recogniser(file.parent)
    name = f"insightface {file.stem}" + (f" with {recogniser}" if embed else "")
    return Detector(name, detect, working_side=480, embed=embed)


def _find_recogniser(folder: Path) -> tuple[str, Callable[[np.ndarray, Face], np.ndarray] | None]:
    from insightface.model_zoo import get_model
    from insightface.utils import face_align

    recogniser: FaceRecogniser | None = None
    for file in sorted(folder.glob("*.onnx")):
        if file.name.lower().startswith(NEITHER):
            continue
        try:
            model = get_model(str(file), providers=onnx_providers())
        except Exception:  # some other model; detection works without it
            continue
        if getattr(model, "taskname", None) == "recognition":
            recogniser = cast(FaceRecogniser, model)
            break
    if recogniser is None:
        return "", None
    size = recogniser.input_size[0]

    def embed(image: np.ndarray, face: Face) -> np.ndarray:
        bgr = np.ascontiguousarray(image[..., ::-1])
        crop = face_align.norm_crop(bgr, landmark=face.landmarks, image_size=size)
        vector = np.asarray(recogniser.get_feat(crop), dtype=np.float64).ravel()
        return vector / max(float(np.linalg.norm(vector)), 1e-9)

    return file.stem, embed


def onnx_providers() -> list[str]:
    """A GPU where onnxruntime has one, else the CPU."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    return [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]
