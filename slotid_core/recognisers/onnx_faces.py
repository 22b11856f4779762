"""A recogniser of ArcFace's kind from an ONNX file: 112 x 112 crops aligned by five landmarks, RGB in [-1, 1].

insightface's w600k_r50 (FaceSim-Arc of OpenS2V) and glintr100 are of this kind, and so is any other file with one
such input and one vector out. Their makers' terms are for non-commercial research mostly; look at the file's own.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ..errors import SlotIDError
from ..reference.faces.alignment import ARCFACE, landmarks_from_box, similarity, warp
from ..reference.faces.detector import find_detector
from ..reference.faces.face import Detector, Face
from ..reference.faces.find_faces import faces_in
from ..reference.faces.insightface_models import NEITHER, onnx_providers
from .recogniser import NotHere, Recogniser, unit

CROP = 112
FIRST = ("w600k_r50", "glintr100", "w600k_mbf")  # tried before other files
WHERE = (
    "Put w600k_r50.onnx of insightface's buffalo_l pack (github.com/deepinsight/insightface, non-commercial) into "
    "models/insightface, or name the folder of another 112 x 112 recogniser with --models"
)
# Mean cosines on real faces of the files that have been measured: strangers, the same person, the threshold.
MEASURED = {"fr_feature": (0.032, 0.888, 0.400)}


def find_arcface(folders: tuple[str, ...]) -> Recogniser:
    """
    Raises:
        NotHere: no such file lies in the folders, or onnxruntime is not installed.
    """
    files = [file for folder in folders for file in sorted(Path(folder).rglob("*.onnx"))]
    files = [file for file in files if not file.name.lower().startswith(NEITHER) and "yunet" not in file.name.lower()]
    files.sort(key=lambda file: next((n for n, stem in enumerate(FIRST) if file.stem == stem), len(FIRST)))
    reasons = []
    for file in files:
        try:
            return load_arcface(file, folders)
        except NotHere as error:
            reasons.append(str(error))
    raise NotHere(f"{' '.join(reasons) or 'no ArcFace file was found.'} {WHERE}.")


@lru_cache(maxsize=4)
def load_arcface(file: Path, folders: tuple[str, ...]) -> Recogniser:
    """The recogniser of one file, its faces found by the best detector that lies in the folders.

    Raises:
        NotHere: onnxruntime is not installed, or the file is of another kind.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise NotHere(f"onnxruntime is not installed ({error}). pip install onnxruntime") from error
    try:
        session = onnxruntime.InferenceSession(str(file), providers=onnx_providers())
    except Exception as error:  # ONNX files fail to load in many ways, and each means the same here
        raise NotHere(f"{file.name} does not load ({str(error).splitlines()[0]}).") from error
    (entry, *others), outputs = session.get_inputs(), session.get_outputs()
    if others or list(entry.shape[1:]) != [3, CROP, CROP] or len(outputs) != 1 or len(outputs[0].shape) != 2:
        raise NotHere(f"{file.name} is no recogniser of 112 x 112 crops.")

    def embed(crop: np.ndarray) -> np.ndarray:
        return unit(np.asarray(session.run(None, {entry.name: crop.transpose(2, 0, 1)[None].astype(np.float32)})[0]))

    detector = find_detector(folders)
    stranger, same, threshold = MEASURED.get(file.stem, (0.0, float("nan"), float("nan")))
    return Recogniser(
        f"arcface_{file.stem}" if file.stem != FIRST[0] else "arcface", f"{file.name}, faces by {detector.name}",
        aligned_look(detector, embed), stranger=stranger, same=same, threshold=threshold,
    )  # fmt: skip


def aligned_look(detector: Detector, embed):
    """Faces as a detector finds them, each aligned to ArcFace's template before `embed` (112, 112, 3) in [-1, 1]."""

    def look(frame: np.ndarray) -> list[Face]:
        picture = torch.from_numpy(np.array(frame)).float() / 255
        try:
            faces = faces_in(picture, detector)
        except SlotIDError:
            return []
        seen = []
        for face in faces:
            points = landmarks_from_box(face.box) if face.landmarks is None else face.landmarks
            crop = warp(picture, similarity(points, ARCFACE), CROP).numpy() * 2 - 1
            seen.append(Face(face.box, face.score, face.landmarks, embed(crop)))
        return seen

    return look
