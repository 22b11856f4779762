"""The head on a white square, as Stand-In's code prepares its reference (`preprocessor/image_input_preprocessor.py`).

The largest face's box, one and a half times as large, is cut out of the picture; where it reaches beyond, white is put
on both sides of it, evenly, and so is it behind the person.
"""

from dataclasses import dataclass

from torch import Tensor

from ...errors import SlotIDError
from ..faces.crop import resized
from ..faces.face import Box, Detector, area, sides
from ..faces.find_faces import check_frames, detect_faces
from .background import neutralise
from .canvas import WHITE
from .cut import find_cut
from .select import given_mask

ROOM = 1.5  # side of the square, in sides of the face's box
AT_BORDER = 10  # pixels: a box so close to all four borders fills the picture, which is then taken whole
LEAST_PIXELS = 256  # side of the cut in the given picture; a smaller one has little to show at 512


@dataclass(frozen=True)
class HeadSquare:
    """picture (1, side, side, 3) in [0, 1]; mask (1, side, side), 1 = person; report, JSON-ready."""

    picture: Tensor
    mask: Tensor
    report: dict


def head_square(
    image: Tensor,
    detector: Detector,
    side: int,
    on_missing: str = "error",
    mask: Tensor | None = None,
    parser_models: tuple[str, ...] = (),
    matting_models: tuple[str, ...] = (),
) -> HeadSquare:
    """The largest face of a picture, with hair and neck, on a white square.

    Args:
        image: (1, H, W, 3) in [0, 1].
        side: of the square, in pixels.
        on_missing: "error", or "skip" to take the whole picture where no face is found, as Stand-In's code does.
        mask: (1, H, W), 1 = person; without it the person is cut out, see `cut.find_cut`.
        parser_models, matting_models: folders of facexlib's parsing weights and of background-removal networks.

    Raises:
        SlotIDError: more than one picture, or no face with "error".
    """
    check_frames(image)
    if len(image) != 1:
        raise SlotIDError(f"One picture of one person is needed; {len(image)} came in. Pick one with ImageFromBatch.")
    image = image[..., :3].float()
    height, width = image.shape[1:3]
    faces = sorted(detect_faces(image, detector)[0], key=lambda face: -area(face.box))
    notes = []
    if not faces and on_missing == "error":
        raise SlotIDError(
            f"No face was found ({detector.name}). Use a larger, frontal face, put an insightface detection model into "
            "models/insightface, or set on_missing to skip."
        )
    box = faces[0].box if faces else (0.0, 0.0, float(width), float(height))
    if not faces:
        notes.append(f"No face was found ({detector.name}); the whole picture was taken.")
    if len(faces) > 1:
        notes.append(f"{len(faces)} faces were found; the largest was taken. Crop the picture for another.")
    left, top, right, bottom = cut = square_around(box, height, width) if faces else (0, 0, width, height)
    if max(right - left, bottom - top) < LEAST_PIXELS:
        notes.append(f"The head has {max(right - left, bottom - top)} pixels of {side}; a larger picture shows more.")
    if mask is None:
        cutter, reasons = find_cut(parser_models, matting_models)
        person, method = cutter.person_mask(image[0], box), cutter.name
        notes += reasons
    else:
        person, method = given_mask(mask, 0, image.shape), "mask input"
    shown = neutralise(image[0], person, WHITE)[top:bottom, left:right]
    report = {
        "detector": detector.name,
        "faces": len(faces),
        "face_pixels": round(max(sides(box))) if faces else 0,
        "square": list(cut),
        "background": method,
        "notes": notes,
    }
    picture = resized(_squared(shown, 1.0)[None], side).clamp(0, 1)
    kept = resized(_squared(person[top:bottom, left:right, None], 0.0)[None], side).clamp(0, 1)
    return HeadSquare(picture, kept[..., 0], report)


def square_around(box: Box, height: int, width: int) -> tuple[int, int, int, int]:
    """left, top, right, bottom of what is cut out, inside the picture, rounded as in Stand-In's code."""
    left, top, right, bottom = (int(value) for value in box)
    if max(left, top, width - right, height - bottom) <= AT_BORDER:
        return 0, 0, width, height
    x, y = (left + right) // 2, (top + bottom) // 2
    half = int(max(right - left, bottom - top) * ROOM) // 2
    return max(x - half, 0), max(y - half, 0), min(x + half, width), min(y + half, height)


def _squared(picture: Tensor, value: float) -> Tensor:
    """(h, w, C) -> (s, s, C) with `value` on both sides of the shorter axis, evenly."""
    height, width = picture.shape[:2]
    side = max(height, width)
    square = picture.new_full((side, side, picture.shape[2]), value)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    return square
