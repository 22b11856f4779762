"""Frames in, a square clip of one person's face out, with a report of how sure that is."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional

from ..errors import SlotIDError
from .clip import Progress
from .crop import cut_squares, square_path
from .detector import Detector
from .face import Face, sides
from .overlay import draw_overlay
from .tracking import boxes_for_every_frame, link_faces

SMALLEST_FACE = 32  # pixels of the given frames; less shows no one, and is mostly a false alarm
ON_MISSING = ("error", "skip")


@dataclass(frozen=True)
class FaceClip:
    """clip (T, size, size, 3); boxes (T, 4) of the face and squares (T, 3) of the crop, in pixels of the given frames.

    `boxes` is None where no face was found and the middle of the picture was taken instead.
    """

    clip: torch.Tensor
    boxes: np.ndarray | None
    squares: np.ndarray
    overlay: torch.Tensor
    report: dict


def make_face_clip(
    frames: torch.Tensor,
    detector: Detector,
    size: int = 256,
    margin: float = 0.5,
    smoothing: int = 8,
    subject: int = 0,
    on_missing: str = "error",
    every: int = 3,
    progress: Progress | None = None,
) -> FaceClip:
    """Finds one person's face through the clip and cuts a steady square around it.

    Args:
        frames: (T, H, W, 3) in [0, 1].
        size: side of the square clip in pixels.
        margin: space around the face on each side, as a share of the face's side.
        smoothing: frames on each side over which the crop's movement is averaged.
        subject: 0 is the dominant person (largest area times time), 1 the next.
        on_missing: "error" raises where there is no face; "skip" takes the middle of the picture and says so.
        every: examine each n-th frame, and fill the rest in between.
        progress: called with (frames done, frames).

    Raises:
        SlotIDError: frames of a wrong shape or with NaN, no face with "error", or no such subject.
    """
    check_frames(frames)
    if on_missing not in ON_MISSING:
        raise SlotIDError(f"on_missing is {on_missing!r}; choose {' or '.join(ON_MISSING)}.")
    frames = frames[..., :3]
    count, height, width = frames.shape[:3]
    detections = detect_faces(frames, detector, every, progress)
    tracks = link_faces(detections)
    if tracks and subject >= len(tracks):
        raise SlotIDError(
            f"Subject {subject} was asked, but {_people(len(tracks))} in the clip (numbered from 0). "
            "Choose a lower number."
        )
    if not tracks and on_missing == "error":
        raise SlotIDError(
            f"No face was found in {len(detections)} examined frames ({detector.name}; under "
            f"{SMALLEST_FACE} pixels none counts). Use a clip where the face is larger and turned to the camera, "
            "install an insightface detection model for profile views, or set on_missing to skip, which takes the "
            "middle of the picture."
        )
    boxes = boxes_for_every_frame(tracks[subject], count) if tracks else None
    squares = square_path(boxes, height, width, margin, smoothing) if tracks else _middle(count, height, width)
    overlay = torch.stack(
        [
            draw_overlay(frames[i], i, None if boxes is None else boxes[i], squares[i], tracks, subject)
            for i in range(count)
        ]
    )
    seen = len(tracks[subject].faces) if tracks else 0
    report = {
        "detector": detector.name,
        "frames": count,
        "examined_frames": len(detections),
        "detection_rate": seen / len(detections),
        "people": len(tracks),
        "subject": subject if tracks else None,
        "crop_jitter_percent": crop_jitter(squares),
        "notes": _notes(detections, tracks, subject, seen, detector),
    }
    return FaceClip(cut_squares(frames, squares, size), boxes, squares, overlay, report)


def detect_faces(
    frames: torch.Tensor, detector: Detector, every: int = 1, progress: Progress | None = None
) -> dict[int, list[Face]]:
    """Faces on each `every`-th frame and the last, in pixels of `frames`."""
    count = len(frames)
    examined = sorted({*range(0, count, max(1, every)), count - 1})
    found = {}
    for index in examined:
        found[index] = faces_in(frames[index], detector)
        if progress:
            progress(index + 1, count)
    return found


def faces_in(frame: torch.Tensor, detector: Detector) -> list[Face]:
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
    faces = [face.scaled(1 / scale) for face in detector.detect(pixels, round(SMALLEST_FACE * scale))]
    return [face for face in faces if max(sides(face.box)) >= 0.99 * SMALLEST_FACE]


def check_frames(frames: torch.Tensor) -> None:
    if frames.dim() != 4 or frames.shape[-1] < 3 or 0 in frames.shape:
        raise SlotIDError(f"Frames of shape {tuple(frames.shape)} came in; needed is (frames, height, width, 3).")
    if not torch.isfinite(frames).all():
        raise SlotIDError("The frames hold NaN or infinite values. Look at the node that made them.")


def crop_jitter(squares: np.ndarray) -> float:
    """Standard deviation of the crop's change from frame to frame (centre and side), in percent of its side."""
    if len(squares) < 2:
        return 0.0
    centre = squares[:, :2] + squares[:, 2:] / 2
    path = np.concatenate([centre, squares[:, 2:]], axis=1)  # (T, 3)
    return float(100 * np.diff(path, axis=0).std(axis=0).max() / squares[:, 2].mean())


def _middle(count: int, height: int, width: int) -> np.ndarray:
    side = min(height, width)
    return np.tile([(width - side) / 2, (height - side) / 2, side], (count, 1)).astype(float)


def _notes(detections, tracks, subject: int, seen: int, detector: Detector) -> list[str]:
    if not tracks:
        return [
            f"No face was found ({detector.name}): the middle of the picture was taken whole. The identity is only as "
            "good as that crop; look at it."
        ]
    notes = []
    if len(tracks) > 1:
        others = ", ".join(str(number) for number in range(len(tracks)) if number != subject)
        notes.append(
            f"{_people(len(tracks)).capitalize()} in the clip; number {subject} was taken "
            f"({'the largest and longest seen' if subject == 0 else 'as asked'}). Set subject to {others} for another."
        )
    if seen < 0.7 * len(detections):
        notes.append(
            f"The face was found on only {seen} of {len(detections)} examined frames; between them its place is "
            "interpolated (red in the overlay). A detector for turned faces (insightface) does better."
        )
    return notes


def _people(count: int) -> str:
    return "one person is" if count == 1 else f"{count} people are"
