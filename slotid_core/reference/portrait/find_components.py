"""The components of a face in pictures as they come: find the face, parse it, and cut its components out."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...errors import SlotIDError
from ..faces.crop import square_path
from ..faces.detector import Detector
from ..faces.face import Box, area
from ..faces.face_clip import check_frames
from ..faces.find_faces import faces_in
from .components import NAMES, Components, best_of, cut_components, shares_of_masks
from .faces_of_clip import MARGIN
from .parts import find_parts

MOST_PICTURES = 16
MIDDLE = 1 / (1 + 2 * MARGIN)  # of a picture's shorter side: the face where none is found, as in a face picture


@dataclass(frozen=True)
class FoundComponents:
    """The components, each from the picture that shows it best, and JSON-ready facts for people."""

    components: Components
    report: dict


def find_components(
    pictures: Tensor, detector: Detector, side: int, on_missing: str = "error", masks: Tensor | None = None
) -> FoundComponents:
    """
    Args:
        pictures: (R, H, W, 3) in [0, 1], of one person.
        side: pixels of a component's picture.
        on_missing: where no face is found, "error", or "skip" to take the middle of the picture for it.
        masks: (6·R, H, W) in [0, 1], of each picture's components in the order of `NAMES`, in place of our parsing.

    Raises:
        SlotIDError: too many pictures, no face, masks of another number or size, or no component that can be seen.
    """
    check_frames(pictures)
    if len(pictures) > MOST_PICTURES:
        raise SlotIDError(
            f"There are {len(pictures)} pictures; a person has at most {MOST_PICTURES}. Take the best of them, with "
            "ImageFromBatch."
        )
    pictures = pictures[..., :3].float()
    check_masks(masks, pictures)
    found, notes = [], []
    for number, picture in enumerate(pictures):
        found_box, note = face_box(picture, detector, on_missing)
        box = as_cut(found_box, *picture.shape[:2])
        if note:
            notes.append(note if len(pictures) == 1 else f"picture {number + 1}: {note}")
        if masks is None:
            shares = find_parts(picture[None], [box]).parts[0]
        else:
            shares = shares_of_masks(masks[len(NAMES) * number : len(NAMES) * (number + 1)])
        found.append(cut_components(picture, shares, box, side))
    components = best_of(found)
    if len(components.hidden) == len(NAMES):
        raise SlotIDError(
            "No component of the face can be seen in the picture. Take a sharper one in which the face is larger, or "
            "connect masks."
        )
    if components.hidden:
        notes.append(f"{', '.join(components.hidden)} cannot be seen and {_is(components.hidden)} left out")
    parsing = "masks" if masks is not None else "our parsing network"
    report = {
        "pictures": len(pictures),
        "detector": detector.name,
        "parsing": parsing,
        "shown": [name for name in NAMES if name not in components.hidden],
        "hidden": components.hidden,
        "percent_of_face": {
            name: round(100 * float(share), 1) for name, share in zip(NAMES, components.areas, strict=True)
        },
        "notes": notes,
    }
    return FoundComponents(components, report)


def check_masks(masks: Tensor | None, pictures: Tensor) -> None:
    if masks is None:
        return
    wanted = (len(NAMES) * len(pictures), *pictures.shape[1:3])
    if tuple(masks.shape) != wanted:
        raise SlotIDError(
            f"Masks of shape {tuple(masks.shape)} came in; needed are {len(NAMES)} a picture ({', '.join(NAMES)}), of "
            f"its size: {wanted}. Make one batch of them, with empty ones for what is hidden."
        )
    if not torch.isfinite(masks).all():
        raise SlotIDError("The masks hold NaN or infinite values. Look at the node that made them.")


def face_box(picture: Tensor, detector: Detector, on_missing: str) -> tuple[Box, str]:
    """The largest face of a picture (H, W, 3), and what is to be said of it."""
    faces = sorted(faces_in(picture, detector), key=lambda face: -area(face.box))
    if faces:
        several = f"{len(faces)} faces were found; the largest was taken" if len(faces) > 1 else ""
        return faces[0].box, several
    if on_missing != "skip":
        raise SlotIDError(
            f"No face was found ({detector.name}). Use a larger, frontal face, put a detection model into "
            "models/face_detection, or set on_missing to skip."
        )
    height, width = picture.shape[:2]
    side = MIDDLE * min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side), "no face was found; the middle of the picture was taken for it"


def as_cut(box: Box, height: int, width: int) -> Box:
    """What preparation takes for the face: the middle of the square to which a picture is cut around it. In a picture
    that is too small for the margin, such as a portrait that is cut already, that is not the face that was found.
    """
    left, top, side = (float(value) for value in square_path(np.array([box]), height, width, MARGIN, smoothing=0)[0])
    room = side * MARGIN / (1 + 2 * MARGIN)
    return (left + room, top + room, left + side - room, top + side - room)


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
