"""dlib's face recognition network, whose file installs with a package and is in the public domain (CC0).

ResNet of 29 layers, 128 numbers, aligned by five landmarks (D. King, dlib_face_recognition_resnet_model_v1). The
landmarks' file is CC0 too; the one of 68 landmarks in the same package is not, and is not used.
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..reference.faces.face import Face
from .recogniser import NotHere, Recogniser, unit

INSTALL = "pip install face-recognition-models==0.3.0 dlib-bin"
NETWORK, LANDMARKS = "dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat"
LARGEST, SMALLEST = 640, 320  # pixels of the shorter side at which faces are looked for; the finder sees 80 and more


@lru_cache(maxsize=1)
def find_dlib() -> Recogniser:
    """
    Raises:
        NotHere: a package is not installed.
    """
    package = find_spec("face_recognition_models")
    if package is None or package.origin is None:
        raise NotHere(f"the package face-recognition-models is not installed. {INSTALL}")
    try:
        import dlib as library
    except ImportError as error:
        raise NotHere(f"dlib is not installed ({error}). {INSTALL}") from error
    dlib: Any = library
    folder = Path(package.origin).parent / "models"
    if not (folder / NETWORK).is_file() or not (folder / LANDMARKS).is_file():
        raise NotHere(f"{NETWORK} does not lie in the package face-recognition-models. {INSTALL}")
    detector = dlib.get_frontal_face_detector()
    landmarks = dlib.shape_predictor(str(folder / LANDMARKS))
    network = dlib.face_recognition_model_v1(str(folder / NETWORK))

    def look(frame: np.ndarray) -> list[Face]:
        picture, scale = _of_working_size(frame)
        found, scores, _ = detector.run(picture, 0)
        faces = []
        for box, score in zip(found, scores, strict=True):
            shape = landmarks(picture, box)
            chip = dlib.get_face_chip(picture, shape, size=150, padding=0.25)
            vector = unit(np.array(network.compute_face_descriptor(chip)))
            corners = (float(box.left()), float(box.top()), float(box.right() + 1), float(box.bottom() + 1))
            faces.append(Face(corners, float(score), embedding=vector).scaled(1 / scale))
        return faces

    return Recogniser(
        "dlib", f"dlib ResNet v1 (package face-recognition-models), faces by the HOG finder of dlib {dlib.__version__}",
        look,
        stranger=STRANGER, same=SAME, threshold=THRESHOLD,
    )  # fmt: skip


# Measured on real faces by `python -m studies.scores`; see docs/scores.md.
STRANGER, SAME, THRESHOLD = 0.836, 0.988, 0.945


def _of_working_size(frame: np.ndarray) -> tuple[np.ndarray, float]:
    from PIL import Image

    side = min(frame.shape[:2])
    scale = min(LARGEST / side, 1.0) if side >= SMALLEST else SMALLEST / side
    if scale == 1.0:
        return np.ascontiguousarray(frame), 1.0
    size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)), scale
