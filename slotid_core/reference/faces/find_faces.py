"""A detector on frames of any size."""

from dataclasses import replace

import torch
import torch.nn.functional as functional

from ...errors import SlotIDError
from ..decode.clip import Progress
from .face import Detector, Face, sides

SMALLEST_FACE = 32  # pixels of the given frames; less shows no one, and is mostly a false alarm


def detect_faces(
    frames: torch.Tensor, detector: Detector, every: int = 1, progress: Progress | None = None, embed: bool = False
) -> dict[int, list[Face]]:
    """Faces on each `every`-th frame and the last, in pixels of `frames`; with embeddings if asked and possible."""
    count = len(frames)
    examined = sorted({*range(0, count, max(1, every)), count - 1})
    found = {}
    for index in examined:
        found[index] = faces_in(frames[index], detector, embed)
        if progress:
            progress(index + 1, count)
    return found


def faces_in(frame: torch.Tensor, detector: Detector, embed: bool = False) -> list[Face]:
    """Faces in one frame (H, W, 3), in its pixels."""
    height, width = frame.shape[:2]
    scale = detector.working_side / min(height, width)
    picture = functional.interpolate(
        frame.permute(2, 0, 1)[None].float(),
        size=(round(height * scale), round(width * scale)),
        mode="bicubic",
        antialias=True,
    )
    pixels = (picture[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().cpu().numpy()
    faces = detector.detect(pixels, round(SMALLEST_FACE * scale))
    faces = [face for face in faces if max(sides(face.box)) >= 0.99 * SMALLEST_FACE * scale]
    if embed and detector.embed is not None:
        faces = [
            face if face.landmarks is None else replace(face, embedding=detector.embed(pixels, face)) for face in faces
        ]
    return [face.scaled(1 / scale) for face in faces]


def check_frames(frames: torch.Tensor) -> None:
    if frames.dim() != 4 or frames.shape[-1] < 3 or 0 in frames.shape:
        raise SlotIDError(f"Frames of shape {tuple(frames.shape)} came in; needed is (frames, height, width, 3).")
    if not torch.isfinite(frames).all():
        raise SlotIDError("The frames hold NaN or infinite values. Look at the node that made them.")
