"""The frame that shows the face best, the runners-up, and the person on a plain background."""

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as functional

from ...errors import SlotIDError
from ..decode.clip import Progress
from ..faces.face import Detector, Face, area
from ..faces.find_faces import check_frames, detect_faces
from ..faces.measure import exposure, face_region, sharpness, side_light
from .background import neutralise
from .cut import find_cut
from .looks import Looks, looking_ahead, looks_of, openness, rest
from .parts import find_face_parts

WEIGHTS = {
    "frontal": 0.25, "sharp": 0.2, "exposed": 0.1, "evenly_lit": 0.05, "eyes_open": 0.15, "ahead": 0.1, "neutral": 0.15,
}  # fmt: skip
# What no other merit makes up for: value below which a part spoils the portrait, and what that costs.
SPOILING = {"eyes_open": 0.4, "frontal": 0.55, "ahead": 0.2}
SPOILT = 1.0
FOUND_BONUS = 0.25  # the detector sees the face: it is most likely not covered
LEAST_LIKE = 0.6  # side of a face in the clip, in sides of its usual box: smaller ones, and as much larger, are none
EXAMINED = 24  # frames at most, evenly spread: neighbours differ too little to look at all
WORDS = {"eyes_open": "the eyes are shut", "frontal": "the head is turned", "ahead": "the eyes look aside"}


@dataclass(frozen=True)
class FrameScore:
    """How good a frame is as a portrait; every part is in [0, 1], larger is better."""

    frame: int
    frontal: float
    sharp: float
    exposed: float
    evenly_lit: float
    eyes_open: float
    ahead: float
    neutral: float
    face_found: bool

    @property
    def spoilt(self) -> tuple[str, ...]:
        """Names of the parts that make this no portrait while there is a better frame."""
        return tuple(part for part, least in SPOILING.items() if getattr(self, part) < least)

    @property
    def said(self) -> list[str]:
        """`spoilt` in words."""
        return [WORDS[part] for part in self.spoilt]

    @property
    def total(self) -> float:
        parts = sum(weight * getattr(self, part) for part, weight in WEIGHTS.items())
        return parts + (FOUND_BONUS if self.face_found else 0.0) - SPOILT * len(self.spoilt)


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
    matting_models: tuple[str, ...] = (),
) -> Portrait:
    """Ranks the frames, takes one and puts the person on a plain background.

    Args:
        frames: (T, H, W, 3) in [0, 1], best the face clip.
        candidates: how many ranked frames to return.
        rank: which of them becomes the portrait, 0 = best.
        background: RGB in [0, 1].
        mask: (T, H, W) or (1, H, W), 1 = person; without it the person is cut out, see `cut.find_cut`.
        parser_models, matting_models: folders of facexlib's parsing weights and of background-removal networks.

    Raises:
        SlotIDError: frames or mask of a wrong shape, NaN, or a rank beyond the candidates.
    """
    check_frames(frames)
    frames = frames[..., :3]
    faces = detect_faces(frames, detector, every=-(-len(frames) // EXAMINED), progress=progress)
    largest = {index: max(found, key=lambda face: area(face.box), default=None) for index, found in faces.items()}
    usual = _usual_face(largest, frames)
    largest = {index: face if face is not None and _is_like(face, usual) else None for index, face in largest.items()}
    scores = _scores(frames, {index: _at_size(usual, face) for index, face in largest.items()}, largest)
    chosen = _spread(sorted(scores, key=lambda score: -score.total), candidates, len(frames))
    if not 0 <= rank < len(chosen):
        raise SlotIDError(f"Candidate {rank} was asked, but there are {len(chosen)} (numbered from 0). Lower it.")
    best = chosen[rank]
    notes = _notes(best, chosen[0], rank)
    if mask is None:
        cut, reasons = find_cut(parser_models, matting_models)
        person, method = cut.person_mask(frames[best.frame], (largest[best.frame] or usual).box), cut.name
        notes += reasons
    else:
        person, method = given_mask(mask, best.frame, frames.shape), "mask input"
    if not any(largest.values()):
        notes.insert(0, f"No face was found ({detector.name}); the middle of each frame was judged instead.")
    report = {
        "frame": best.frame,
        "background": method,
        "detector": detector.name,
        "spoilt": best.said,
        "candidates": [asdict(score) | {"total": score.total, "spoilt": score.said} for score in chosen],
        "notes": notes,
    }
    return Portrait(
        image=neutralise(frames[best.frame], person, background)[None],
        mask=person[None],
        candidates=frames[[score.frame for score in chosen]],
        frames=tuple(score.frame for score in chosen),
        report=report,
    )


def _scores(frames: torch.Tensor, places: dict[int, Face], found: dict[int, Face | None]) -> list[FrameScore]:
    """Judges the face of each of these frames; eyes and mouth against the clip's other frames."""
    looks = _looks(frames, places)
    eyes_open = openness(np.array([look.opening for look in looks]))
    eyes_open *= np.nan_to_num(np.array([look.eyes_seen for look in looks]))
    neutral = rest(np.array([look.mouth for look in looks]), np.array([look.lift for look in looks]))
    ahead = looking_ahead(np.array([look.gaze for look in looks]))
    scores = []
    for number, (index, face) in enumerate(places.items()):
        region = face_region(frames[index], face.box)
        scores.append(
            FrameScore(
                frame=index,
                frontal=0.0 if math.isnan(looks[number].turn) else 1 - looks[number].turn,
                sharp=sharpness(region),
                exposed=exposure(region),
                evenly_lit=1 - side_light(region),
                eyes_open=float(eyes_open[number]),
                ahead=float(ahead[number]),
                neutral=float(neutral[number]),
                face_found=found[index] is not None,
            )
        )
    return scores


def _looks(frames: torch.Tensor, places: dict[int, Face]) -> list[Looks]:
    indices = list(places)
    shown = find_face_parts(frames[indices], [places[index].box for index in indices])
    return [
        looks_of(shown[number], frames[index].float().mean(dim=-1), places[index].box[2] - places[index].box[0])
        for number, index in enumerate(indices)
    ]


def _notes(best: FrameScore, first: FrameScore, rank: int) -> list[str]:
    if not best.spoilt:
        return []
    why = " and ".join(best.said)
    if rank > 0:
        return [f"In the chosen frame {best.frame} {why}; frame {first.frame} (rank 0) is better."]
    return [
        f"No frame makes a good portrait. Frame {best.frame} is the least bad: {why}. Film the person facing the "
        "camera with open eyes, or raise candidates and choose by rank."
    ]


def _usual_face(faces: dict[int, Face | None], frames: torch.Tensor) -> Face:
    """Where the face mostly is; the middle of the picture if it never was found."""
    boxes = [face.box for face in faces.values() if face is not None]
    if boxes:
        return Face(tuple(np.median(boxes, axis=0)))
    height, width = frames.shape[1:3]
    return Face((0.25 * width, 0.2 * height, 0.75 * width, 0.8 * height))


def _is_like(face: Face, usual: Face) -> bool:
    """Whether a box is where the face usually is, and about as large; detectors take an eye or a collar for one."""
    side, most = (box[2] - box[0] for box in (face.box, usual.box))
    across, down = _away(face, usual)
    return LEAST_LIKE < side / most < 1 / LEAST_LIKE and max(abs(across), abs(down)) < most / 2


def _away(face: Face, usual: Face) -> tuple[float, float]:
    """Pixels to the right and down from the middle of the usual box to that of another."""
    across, down = ((face.box[i] + face.box[i + 2] - usual.box[i] - usual.box[i + 2]) / 2 for i in (0, 1))
    return across, down


def _at_size(usual: Face, found: Face | None) -> Face:
    """The face found, in the usual size: boxes that breathe would make one frame look sharper than another."""
    if found is None:
        return usual
    across, down = _away(found, usual)
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


def given_mask(mask: torch.Tensor, index: int, shape: torch.Size) -> torch.Tensor:
    """The mask of one frame (H, W) in [0, 1], of one that was given for it or for all frames."""
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
