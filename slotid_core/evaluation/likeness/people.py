"""Who somebody is to a recogniser: the mean direction of their reference pictures or clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import SlotIDError
from ...picture_files import read_rgb
from ...recognisers.recogniser import Recogniser, unit
from ...reference.faces.face import Face, area
from .face_crops import face_crops
from .frames import evenly, is_picture, is_video, read_video

LOOKS = 16  # frames of a reference clip
PAD = 0.25  # of each side, grey, around a frame in which no face was found: OpenS2V's second try
GREY = 128


@dataclass(frozen=True)
class Person:
    """Who somebody is to one recogniser.

    Attributes:
        vector: (D,) unit vector, the mean direction of `vectors`.
        faces: in how many of `pictures` a face was found.
        vectors: (faces, D) unit vectors.
        crops: (faces, 299, 299, 3) uint8 of the faces where they were asked for, else (0, 299, 299, 3).
    """

    name: str
    vector: np.ndarray
    faces: int
    pictures: int
    vectors: np.ndarray
    crops: np.ndarray


def look_twice(recogniser: Recogniser, frame: np.ndarray) -> list[Face]:
    """Faces of a frame (H, W, 3); where there is none, once more with a grey border (OpenS2V, get_facesim.py)."""
    faces = recogniser.look(frame)
    if faces:
        return faces
    height, width = (round(side * PAD / 2) for side in frame.shape[:2])
    padded = np.pad(frame, ((height, height), (width, width), (0, 0)), constant_values=GREY)
    return [_moved(face, -width, -height) for face in recogniser.look(padded)]


def person_of(name: str, recogniser: Recogniser, pictures: Sequence[np.ndarray], crop: bool = False) -> Person:
    """A person from pictures (H, W, 3) uint8, of each the largest face.

    Raises:
        SlotIDError: no picture shows a face that the recogniser finds.
    """
    largest = [max(look_twice(recogniser, one), key=lambda face: area(face.box), default=None) for one in pictures]
    known = [
        (picture, face.box, face.embedding) for picture, face in zip(pictures, largest, strict=True)
        if face is not None and face.embedding is not None
    ]  # fmt: skip
    if not known:
        raise SlotIDError(
            f"{recogniser.name} finds no face in the reference of {name}. Give larger, frontal, upright pictures."
        )
    shown, boxes, vectors = zip(*known, strict=True)
    crops = face_crops(shown, boxes) if crop else face_crops([], [])
    return Person(name, unit(np.mean(vectors, axis=0)), len(vectors), len(pictures), np.stack(vectors), crops)


def reference_pictures(paths: Sequence[Path]) -> list[np.ndarray]:
    """Pictures of somebody from pictures, clips and folders of both.

    Raises:
        SlotIDError: there are none.
    """
    found: list[np.ndarray] = []
    for path in paths:
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if is_picture(file) or is_video(file))
            found += reference_pictures(files) if files else []
        elif is_picture(path):
            found.append(read_rgb(path))
        else:
            frames = read_video(path)
            found += list(frames.pixels[evenly(len(frames), LOOKS)])
    if not found:
        raise SlotIDError(f"No picture and no video of a person is in {', '.join(map(str, paths))}.")
    return found


def _moved(face: Face, right: float, down: float) -> Face:
    left, top, end, bottom = face.box
    points = None if face.landmarks is None else face.landmarks + np.array([right, down])
    return Face((left + right, top + down, end + right, bottom + down), face.score, points, face.embedding)
