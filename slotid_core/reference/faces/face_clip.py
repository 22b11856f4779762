"""Frames in, a square clip of one person's face out, with a report of how sure that is."""

import itertools
from dataclasses import dataclass

import numpy as np
import torch

from ...errors import SlotIDError
from ..decode.clip import Progress
from ..decode.shots import find_cuts
from .crop import cut_squares, square_path
from .face import Detector, sides
from .find_faces import SMALLEST_FACE, check_frames, detect_faces
from .identify import subject_on_picture
from .overlay import draw_overlay
from .tracking import ABOUT_EQUAL, LONGEST_GAP, Track, boxes_for_every_frame, link_faces

ON_MISSING = ("error", "skip")


@dataclass(frozen=True)
class FaceClip:
    """clip (T, size, size, 3); boxes (T, 4) of the face and squares (T, 3) of the crop, in pixels of the given frames.

    `boxes` is None where no face was found and the middle of the picture was taken instead; `people` are all that were
    seen, in the order of their numbers.
    """

    clip: torch.Tensor
    boxes: np.ndarray | None
    squares: np.ndarray
    overlay: torch.Tensor
    report: dict
    people: tuple[Track, ...] = ()


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
    subject_image: torch.Tensor | None = None,
) -> FaceClip:
    """Finds one person's face through the clip and cuts a steady square around it.

    Args:
        frames: (T, H, W, 3) in [0, 1].
        size: side of the square clip in pixels.
        margin: space around the face on each side, as a share of the face's side.
        smoothing: frames on each side over which the crop's movement is averaged.
        subject: 0 is the dominant person (largest area times time; of equal ones the leftmost), 1 the next.
        on_missing: "error" raises where there is no face; "skip" takes the middle of the picture and says so.
        every: examine each n-th frame, and fill the rest in between.
        progress: called with (frames done, frames).
        subject_image: (1, H, W, 3), a picture of the person to follow; it takes the place of `subject`.

    Raises:
        SlotIDError: frames of a wrong shape or with NaN, no face with "error", or no such subject.
    """
    check_frames(frames)
    if on_missing not in ON_MISSING:
        raise SlotIDError(f"on_missing is {on_missing!r}; choose {' or '.join(ON_MISSING)}.")
    frames = frames[..., :3]
    count, height, width = frames.shape[:3]
    detections = detect_faces(frames, detector, every, progress, embed=True)
    tracks = link_faces(detections)
    certainty = None
    if tracks and subject_image is not None:
        subject, certainty = subject_on_picture(subject_image, frames, tracks, detector)
    elif tracks and subject >= len(tracks):
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
    squares = _middle(count, height, width) if boxes is None else square_path(boxes, height, width, margin, smoothing)
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
        "refused_frames": list(tracks[subject].refused) if tracks else [],
        "face_pixels": float(np.median([max(sides(face.box)) for face in tracks[subject].faces.values()]))
        if tracks
        else None,
        "crop_jitter_percent": crop_jitter(squares),
        "notes": [
            *_notes(detections, tracks, subject, seen, detector),
            *([certainty] if certainty else []),
            *_cuts(frames),
        ],
    }
    return FaceClip(cut_squares(frames, squares, size), boxes, squares, overlay, report, tuple(tracks))


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
        if tracks[1].weight > ABOUT_EQUAL * tracks[0].weight:
            notes.append("They are about equally large and long in the picture; number 0 is the leftmost.")
    known = sorted(tracks[subject].faces)
    away = [gap for gap in _gaps(known, max(detections)) if gap[1] - gap[0] > LONGEST_GAP]
    if away:
        spans = ", ".join(f"{first} to {last}" for first, last in away)
        notes.append(f"The face is away from frame {spans}; where it is then is a guess. Choose a window without that.")
    elif seen < 0.7 * len(detections):
        notes.append(
            f"The face was found on only {seen} of {len(detections)} examined frames; between them its place is "
            "interpolated (red in the overlay). A detector for turned faces (insightface) does better."
        )
    refused = tracks[subject].refused
    if refused:
        notes.append(
            f"On {len(refused)} of {len(detections)} examined frames the box had jumped onto a part of the face or "
            f"elsewhere ({_some(refused)}); the face's place there is taken from the frames around."
        )
    return notes


def _some(frames: tuple[int, ...], most: int = 8) -> str:
    return (
        ("frame " if len(frames) == 1 else "frames ")
        + ", ".join(map(str, frames[:most]))
        + (f" and {len(frames) - most} more" if len(frames) > most else "")
    )


def _gaps(known: list[int], last: int) -> list[tuple[int, int]]:
    """(first, last) frames before, between and after the detections."""
    return list(itertools.pairwise([0, *known, last]))


def _cuts(frames: torch.Tensor) -> list[str]:
    cuts = find_cuts(frames)
    if not cuts:
        return []
    return [
        f"The scene changes at frame {', '.join(map(str, cuts))}; a reference should be one scene. Let Load Reference "
        "Video search the best window."
    ]


def _people(count: int) -> str:
    return "one person is" if count == 1 else f"{count} people are"
