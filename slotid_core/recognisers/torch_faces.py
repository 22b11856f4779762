"""Recognisers that are PyTorch networks of ours: facexlib's IR-SE50, CurricularFace's IR-101, the toy world's own."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import SlotIDError
from ..reference.faces.detector import find_detector
from ..reference.faces.drawn_faces import find_drawn_faces
from ..reference.faces.face import Face
from ..reference.faces.face_encoder import FILE_NAME, load_face_encoder
from ..reference.faces.find_faces import faces_in
from ..toy_world.face_pictures import crops_of_frames
from ..toy_world.family import load_face_recogniser
from .curricular import CURRICULAR_FILE, load_curricular
from .onnx_faces import aligned_look
from .recogniser import NotHere, Recogniser

TOY_SIDE = 128  # pixels of a frame in which drawn faces are looked for, as a smaller face counts as a false alarm


def find_ir_se50(folders: tuple[str, ...]) -> Recogniser:
    """
    Raises:
        NotHere: the file does not lie in the folders.
    """
    file = _file(folders, FILE_NAME, "facexlib's releases, github.com/xinntao/facexlib")
    network = _load(file, load_face_encoder)
    detector = find_detector(folders)
    return Recogniser(
        "ir_se50", f"{file.name}, faces by {detector.name}", aligned_look(detector, embed_with(network)), stranger=0.0
    )


def find_curricular(folders: tuple[str, ...]) -> Recogniser:
    """FaceSim-Cur of OpenS2V and ConsisID.

    Raises:
        NotHere: the file does not lie in the folders.
    """
    file = _file(
        folders, CURRICULAR_FILE, "the weights of OpenS2V-Eval or ConsisID-preview on Hugging Face, BestWishYsh"
    )
    network = _load(file, load_curricular)
    detector = find_detector(folders)
    return Recogniser(
        "curricular", f"{file.name}, faces by {detector.name}", aligned_look(detector, embed_with(network)),
        stranger=0.0,
    )  # fmt: skip


def embed_with(network: nn.Module):
    """Crops (112, 112, 3) in [-1, 1] to unit vectors."""

    @torch.inference_mode()
    def embed(crop: np.ndarray) -> np.ndarray:
        picture = torch.from_numpy(crop).float().permute(2, 0, 1)[None]
        return F.normalize(network(picture).double(), dim=1)[0].numpy()

    return embed


@lru_cache(maxsize=1)
def find_toy() -> Recogniser:
    """The toy world's recogniser, which sees faces as the face tracker cuts them.

    Raises:
        NotHere: it has not been trained.
    """
    try:
        network = load_face_recogniser()
    except SlotIDError as error:
        raise NotHere(str(error)) from error
    detector = find_drawn_faces()

    @torch.inference_mode()
    def look(frame: np.ndarray) -> list[Face]:
        picture = torch.from_numpy(np.array(frame)).float() / 255
        scale = max(1.0, TOY_SIDE / min(picture.shape[:2]))
        larger = F.interpolate(picture.movedim(-1, 0)[None], scale_factor=scale, mode="bilinear") if scale > 1 else None
        faces = faces_in(picture if larger is None else larger[0].movedim(0, -1), detector)
        return [_toy_face(face.scaled(1 / scale), picture, network) for face in faces]

    return Recogniser("toy", "the toy world's recogniser, faces by the finder of drawn people", look, *TOY_MEASURED)


# Mean cosines of held-out drawn people by `python -m studies.scores.drawn`: strangers, the same person. The threshold
# lies half way: one pair of strangers in a thousand is so alike (0.89) that it would keep out people themselves.
TOY_MEASURED = (0.008, 0.939, 0.47)


def _toy_face(face: Face, picture: Tensor, network: nn.Module) -> Face:
    square = _on_square(picture)
    box = np.array(face.box, dtype=float)[None]
    return Face(face.box, face.score, face.landmarks, network(crops_of_frames(square[None], box))[0].double().numpy())


def _on_square(picture: Tensor) -> Tensor:
    """The picture in the upper left of a square one, black beside it, as crops are cut out of squares."""
    height, width = picture.shape[:2]
    side = max(height, width)
    return F.pad(picture, (0, 0, 0, side - width, 0, side - height))


def _file(folders: tuple[str, ...], name: str, where: str) -> Path:
    found = [file for folder in folders for file in sorted(Path(folder).rglob(name))]
    if not found:
        raise NotHere(f"{name} was not found. It is published at {where}; put it into models/facexlib or name its "
                      "folder with --models.")  # fmt: skip
    return found[0]


def _load(file: Path, load) -> nn.Module:
    try:
        return load(file)
    except SlotIDError as error:
        raise NotHere(str(error)) from error
