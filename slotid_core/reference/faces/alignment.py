"""Five landmarks to the two crops that Lynx was trained with, and where the landmarks come from."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import SlotIDError
from .detector import Detector
from .face import Box, area, sides
from .face_clip import check_frames, detect_faces
from .face_encoder import INPUT_SIZE

# ArcFace's positions of eyes, nose and mouth corners in its 112 x 112 crop.
ARCFACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
# Where they lie in the box of a frontal-face cascade, as shares of it; for detectors that see no landmarks.
IN_BOX = np.array([[0.31, 0.40], [0.69, 0.40], [0.50, 0.58], [0.35, 0.76], [0.65, 0.76]])
ON_MISSING = ("error", "skip")
CROP_SIZE = 256  # of the picture that a video model looks at


@dataclass(frozen=True)
class AlignedFace:
    """embedding_crop (112, 112, 3), reference_crop (256, 256, 3), both in [0, 1]; landmarks (5, 2) in pixels."""

    embedding_crop: Tensor
    reference_crop: Tensor
    landmarks: np.ndarray
    report: dict


def align_face(image: Tensor, detector: Detector | None, on_missing: str = "error") -> AlignedFace:
    """The largest face of a picture, aligned as Lynx's code does.

    Args:
        image: (1, H, W, 3) in [0, 1].
        detector: None takes the middle of the picture for the face.
        on_missing: "error", or "skip" to take the middle of the picture for the face.

    Raises:
        SlotIDError: more than one picture, or no face with "error".
    """
    check_frames(image)
    if len(image) != 1:
        raise SlotIDError(f"One picture of one face is needed; {len(image)} came in. Pick one with Image From Batch.")
    image = image[..., :3]
    height, width = image.shape[1:3]
    faces = sorted(detect_faces(image, detector)[0] if detector else [], key=lambda face: -area(face.box))
    finder = detector.name if detector else "no detector"
    notes = []
    if faces:
        box, landmarks = faces[0].box, faces[0].landmarks
        if len(faces) > 1:
            notes.append(f"{len(faces)} faces were found; the largest was taken. Crop the picture for another.")
    elif on_missing == "skip":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        box, landmarks = (left, top, left + side, top + side), None
        notes.append("No face was found; the middle of the picture was taken for it.")
    else:
        raise SlotIDError(
            f"No face was found ({finder}). Use a larger, frontal face, put an insightface detection model into "
            "models/insightface, or set on_missing to skip."
        )
    if landmarks is None:
        landmarks = landmarks_from_box(box)
        notes.append(
            f"{finder} sees no landmarks, so eyes, nose and mouth were placed by the box. The likeness will "
            "suffer; a detector with landmarks does better."
        )
    report = {"detector": finder, "faces": len(faces), "face_pixels": round(max(sides(box))), "notes": notes}
    return AlignedFace(
        warp(image[0], similarity(landmarks, ARCFACE), INPUT_SIZE),
        warp(image[0], similarity(landmarks, reference_template()), CROP_SIZE),
        landmarks,
        report,
    )


def landmarks_from_box(box: Box) -> np.ndarray:
    """(5, 2) for a frontal face that fills the box."""
    return np.array(box[:2]) + IN_BOX * np.array(sides(box))


def reference_template() -> np.ndarray:
    """(5, 2) in the 256 x 256 crop: ArcFace's, lower by 10, drawn together to leave room, doubled and centred."""
    lower = ARCFACE + np.array([0, 10])
    return (0.8 * (lower - 56) + 56) * (CROP_SIZE / 128) + np.array([16, 0])


def similarity(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(2, 3), the rotation, scale and shift that take points (N, 2) nearest to targets (N, 2), in least squares."""
    source, target = (np.asarray(p, dtype=np.float64) @ [1, 1j] for p in (points, targets))
    source_mean, target_mean = source.mean(), target.mean()
    turn = np.vdot(source - source_mean, target - target_mean) / np.vdot(source - source_mean, source - source_mean)
    shift = target_mean - turn * source_mean
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def crop_place(landmarks: np.ndarray, height: int, width: int) -> Tensor:
    """(2, 3), where in a picture the crop for a face network lies, for `crops_at`."""
    inside = np.linalg.inv(np.vstack([similarity(landmarks, ARCFACE), [0, 0, 1]]))
    half = (INPUT_SIZE - 1) / 2
    from_crop = np.array([[half, 0, half], [0, half, half], [0, 0, 1]])  # from -1 to 1 -> pixels of the crop
    across, down = 2 / max(1, width - 1), 2 / max(1, height - 1)
    to_picture = np.array([[across, 0, -1], [0, down, -1], [0, 0, 1]])
    return torch.from_numpy((to_picture @ inside @ from_crop)[:2]).float()


def crops_at(pictures: Tensor, places: Tensor) -> Tensor:
    """As `warp` by `similarity` to `ARCFACE`, for a batch and with gradients to the pictures.

    Args:
        pictures: (N, 3, H, W) in [0, 1].
        places: (N, 2, 3), of `crop_place`.

    Returns:
        (N, 3, 112, 112) in [-1, 1], as the face network takes them; black outside of the picture.
    """
    grid = F.affine_grid(places, [len(pictures), 3, INPUT_SIZE, INPUT_SIZE], align_corners=True)
    found = F.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return found * 2 - 1


def warp(image: Tensor, matrix: np.ndarray, size: int) -> Tensor:
    """image (H, W, 3) -> (size, size, 3), where `matrix` takes a pixel of the image; black outside of it."""
    height, width = image.shape[:2]
    inverse = torch.from_numpy(np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2])
    steps = torch.arange(size, dtype=torch.float64)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ inverse.T  # (size, size, 2), pixel centres
    grid = places * 2 / torch.tensor([width - 1, height - 1]) - 1
    picture = image.permute(2, 0, 1)[None].double().cpu()
    out = F.grid_sample(picture, grid[None], mode="bilinear", padding_mode="zeros", align_corners=True)
    return out[0].permute(1, 2, 0).float()
