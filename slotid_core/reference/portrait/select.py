"""The frame that shows the face best: frontal, sharp, well exposed, eyes open, mouth at rest; and the runners-up."""

from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
import torch.nn.functional as functional

from ...errors import SlotIDError
from ..decode.clip import Progress
from ..faces.face import Detector, Face, area
from ..faces.find_faces import check_frames, detect_faces
from ..faces.measure import exposure, face_region, nose_between_eyes, sharpness, symmetry
from .background import neutralise, person_mask
from .expression import darkness_of_eyes_and_mouth, openness_and_rest
from .face_parsing import find_face_parser

WEIGHTS = {"frontal": 0.25, "sharp": 0.3, "exposed": 0.13, "eyes_open": 0.12, "neutral": 0.2}
FOUND_BONUS = 0.25  # the detector sees the face: it is most likely not turned away nor covered
EXAMINED = 32  # frames, evenly spread: neighbours differ too little to look at all


@dataclass(frozen=True)
class FrameScore:
    """How good a frame is as a portrait; every part is in [0, 1], larger is better."""

    frame: int
    frontal: float
    sharp: float
    exposed: float
    face_found: bool
    eyes_open: float = 1.0
    neutral: float = 1.0

    @property
    def total(self) -> float:
        parts = sum(weight * getattr(self, part) for part, weight in WEIGHTS.items())
        return parts + (FOUND_BONUS if self.face_found else 0.0)


@dataclass(frozen=True)
class Portrait:
    """image (1, H, W, 3) on a plain background; mask (1, H, W), 1 = person; candidates (K, H, W, 3), best first."""

    image: torch.Tensor
    mask: torch.Tensor
    candidates: torch.Tensor
    frames: tuple[int, ...]
    report: dict


def select_portrait(
    frames: torch.Tensor,
    detector: Detector,
    candidates: int = 5,
    rank: int = 0,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
    mask: torch.Tensor | None = None,
    progress: Progress | None = None,
    parser_models: tuple[str, ...] = (),
) -> Portrait:
    """Ranks the frames, takes one and puts the person on a plain background.

    Args:
        frames: (T, H, W, 3) in [0, 1], best the face clip.
        candidates: how many ranked frames to return.
        rank: which of them becomes the portrait, 0 = best.
        background: RGB in [0, 1].
        mask: (T, H, W) or (1, H, W), 1 = person; without it the person is cut out by facexlib, or by colour and edges.
        parser_models: folders in which facexlib's parsing weights may lie.

    Raises:
        SlotIDError: frames or mask of a wrong shape, NaN, or a rank beyond the candidates.
    """
    check_frames(frames)
    frames = frames[..., :3]
    faces = detect_faces(frames, detector, every=max(1, len(frames) // EXAMINED), progress=progress)
    largest = {index: max(found, key=lambda face: area(face.box), default=None) for index, found in faces.items()}
    usual = _usual_face(largest, frames)
    scores = _with_expressions(
        [score_frame(frames[i], i, _at_size(usual, face), face is not None) for i, face in largest.items()],
        [darkness_of_eyes_and_mouth(frames[i], _at_size(usual, face)) for i, face in largest.items()],
    )
    chosen = _spread(sorted(scores, key=lambda score: -score.total), candidates, len(frames))
    if not 0 <= rank < len(chosen):
        raise SlotIDError(f"Candidate {rank} was asked, but there are {len(chosen)} (numbered from 0). Lower it.")
    best = chosen[rank].frame
    notes = []
    if mask is None:
        parser, reason = find_face_parser(parser_models)
        cut_out, method = (parser.person_mask, parser.name) if parser else (person_mask, "graph cut")
        person = cut_out(frames[best], (largest[best] or usual).box)
        notes += [reason] if reason else []
    else:
        person, method = _given_mask(mask, best, frames.shape), "mask input"
    if not any(largest.values()):
        notes.append(f"No face was found ({detector.name}); the middle of each frame was judged instead.")
    report = {
        "frame": best,
        "background": method,
        "detector": detector.name,
        "candidates": [asdict(score) | {"total": score.total} for score in chosen],
        "notes": notes,
    }
    return Portrait(
        image=neutralise(frames[best], person, background)[None],
        mask=person[None],
        candidates=frames[[score.frame for score in chosen]],
        frames=tuple(score.frame for score in chosen),
        report=report,
    )


def score_frame(frame: torch.Tensor, index: int, face: Face, found: bool) -> FrameScore:
    """Judges the face's region of one frame (H, W, 3)."""
    region = face_region(frame, face.box)
    frontal = symmetry(region) if face.landmarks is None else nose_between_eyes(face.landmarks)
    return FrameScore(index, frontal, sharpness(region), exposure(region), found)


def _with_expressions(scores: list[FrameScore], darkness: list[tuple[float, float]]) -> list[FrameScore]:
    """Adds what only the comparison with the clip's other frames tells, if there are a few with a face."""
    seen = [number for number, score in enumerate(scores) if score.face_found]
    if len(seen) < 3:
        return scores
    for number, eyes_open, neutral in zip(seen, *openness_and_rest(np.array(darkness)[seen]), strict=True):
        scores[number] = replace(scores[number], eyes_open=float(eyes_open), neutral=float(neutral))
    return scores


def _usual_face(faces: dict[int, Face | None], frames: torch.Tensor) -> Face:
    """Where the face mostly is; the middle of the picture if it never was found."""
    boxes = [face.box for face in faces.values() if face is not None]
    if boxes:
        return Face(tuple(np.median(boxes, axis=0)))
    height, width = frames.shape[1:3]
    return Face((0.25 * width, 0.2 * height, 0.75 * width, 0.8 * height))


def _at_size(usual: Face, found: Face | None) -> Face:
    """The face found, in the usual size: boxes that breathe would make one frame look sharper than another."""
    if found is None:
        return usual
    across, down = ((found.box[i] + found.box[i + 2] - usual.box[i] - usual.box[i + 2]) / 2 for i in (0, 1))
    left, top, right, bottom = usual.box
    return Face((left + across, top + down, right + across, bottom + down), found.score, found.landmarks)


def _spread(scores: list[FrameScore], count: int, num_frames: int) -> list[FrameScore]:
    """The best frames, kept apart in time so that the gallery is not five times the same moment."""
    apart = max(1, num_frames // (3 * max(1, count)))
    chosen: list[FrameScore] = []
    for score in scores:
        if len(chosen) < count and all(abs(score.frame - other.frame) >= apart for other in chosen):
            chosen.append(score)
    return chosen


def _given_mask(mask: torch.Tensor, index: int, shape: torch.Size) -> torch.Tensor:
    mask = mask[None] if mask.dim() == 2 else mask
    if mask.dim() != 3 or mask.shape[0] not in (1, shape[0]):
        raise SlotIDError(
            f"The mask has shape {tuple(mask.shape)}; needed is one mask, or one for each of the {shape[0]} frames."
        )
    if not torch.isfinite(mask).all():
        raise SlotIDError("The mask holds NaN or infinite values. Look at the node that made it.")
    one = mask[index if mask.shape[0] > 1 else 0].float()
    if one.shape != shape[1:3]:
        one = functional.interpolate(one[None, None], size=tuple(shape[1:3]), mode="bilinear", antialias=True)[0, 0]
    return one.clamp(0, 1)
