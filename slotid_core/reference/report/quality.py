"""How good a reference is, in facts: what the face clip shows, what is missing, and what to film instead."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional

from ...errors import SlotIDError
from ..decode.clip import Progress
from ..faces.face import Box, Detector, Face, area, box_of
from ..faces.find_faces import check_frames, detect_faces, faces_in
from ..faces.measure import APPEARANCE, appearance, exposure, face_region, sharpness, side_light, spread
from ..faces.pose import head_angles
from .advice import Advice, compared
from .portrait_quality import PortraitQuality, judge_portrait, look_at

EXAMINED = 24  # frames, evenly spread
MOTION_SIDE = 48  # pixels at which the movement inside the face is measured
BLOCKS = 4  # the face is divided into 4 x 4 of them to see what passes in front of it
# Distance of a block's pattern: covered, at most of the others, and once it is free again.
COVERED, UNCHANGED, BACK = 0.18, 0.08, 0.12
LONGEST_COVER = 8  # examined frames

FRONTAL_DEGREES = 15  # to each side
FULL_TRACK = 0.8  # share of frames on which the face should be seen
SMALL_FACE, SOFT, BADLY_LIT, ONE_SIDED, STIFF, STILL = 100, 0.36, 0.5, 0.3, 0.2, 0.05
COMMON_COVER, FULL_LENGTH = 0.3, 65
SAME_COLOR = 0.02  # by which a portrait may differ from its frame where it was kept
SERIOUS = {"face_seen", "sharpness", "exposure", "change"}  # one of these far off makes a poor reference


@dataclass(frozen=True)
class Quality:
    """`facts` is JSON-ready; `pictures` are the frames for the card: the most usual one, then the most different.

    `portrait` (H, W, 3) is the picture of the person for the card, None where none was given.
    """

    facts: dict
    advice: tuple[Advice, ...]
    pictures: tuple[int, ...]
    portrait: torch.Tensor | None = None

    @property
    def report(self) -> dict:
        """Facts and advice in one dictionary."""
        return self.facts | {
            "missing": [item.missing for item in self.advice],
            "film_instead": [item.remedy for item in self.advice],
        }


def judge_reference(
    clip: torch.Tensor,
    detector: Detector,
    tracking: dict | None = None,
    window: dict | None = None,
    portrait: dict | None = None,
    progress: Progress | None = None,
    portrait_image: torch.Tensor | None = None,
    portrait_mask: torch.Tensor | None = None,
) -> Quality:
    """Judges a face clip, with what the nodes before it reported.

    Args:
        clip: (T, H, W, 3) in [0, 1], the square clip of `make_face_clip`.
        tracking, window, portrait: the reports of the tracker, the loader and the portrait's choice, as far as there
            are any; they know what the clip itself does not show (other people, the face's size before the crop).
        portrait_image: (1, H, W, 3), the portrait that was made; it is judged, and so is the cut.
        portrait_mask: (1, H, W), what of its frame the portrait keeps, 1 = person.

    Raises:
        SlotIDError: frames, portrait or mask of a wrong shape, or NaN.
    """
    check_frames(clip)
    if portrait_image is not None:
        check_frames(portrait_image)
    tracking, window, portrait = tracking or {}, window or {}, portrait or {}
    every = max(1, len(clip) // EXAMINED)
    found = detect_faces(clip, detector, every, progress)
    faces = {index: max(some, key=lambda face: area(face.box), default=None) for index, some in found.items()}
    boxes = _steady_boxes(faces, clip.shape)
    regions = {index: face_region(clip[index], box) for index, box in boxes.items()}
    looks = np.stack([appearance(region) for region in regions.values()])
    seen = [face for face in faces.values() if face is not None]
    facts = {
        "frames": len(clip),
        "examined_frames": len(faces),
        "detector": detector.name,
        "face_seen": _rounded(tracking.get("detection_rate", len(seen) / len(faces))),
        "people": tracking.get("people"),
        "face_pixels": tracking.get("face_pixels"),
        "crop_jitter_percent": _rounded(tracking.get("crop_jitter_percent")),
        "pose": _pose(seen),
        "change": _rounded(spread(looks)),
        "motion_energy_percent": _rounded(motion_energy(clip, np.median(list(boxes.values()), axis=0))),
        "sharpness": _rounded(np.median([sharpness(region) for region in regions.values()])),
        "exposure": _rounded(np.median([exposure(region) for region in regions.values()])),
        "brightness": _rounded(np.median([float(region.mean()) for region in regions.values()])),
        "side_light": _rounded(np.median([side_light(region) for region in regions.values()])),
        "covered": _rounded(len(covered_frames(looks)) / len(looks)),
        "window": {
            key: window[key] for key in ("start_seconds", "end_seconds", "score", "cuts_seconds") if key in window
        },
        "portrait": {key: portrait[key] for key in ("frame", "background") if key in portrait},
    }
    advice = tuple(_advice(facts))
    if portrait_image is not None:
        usual = box_of(np.median(list(boxes.values()), axis=0))
        judged = _judge(portrait_image[0], portrait_mask, clip, portrait.get("frame"), usual, detector)
        facts["portrait"] |= judged.facts | {"verdict": judged.verdict}
        advice += judged.advice
    facts["verdict"] = (
        "poor" if any(item.serious for item in advice) or len(advice) > 4 else "usable" if advice else "good"
    )
    shown = None if portrait_image is None else portrait_image[0]
    return Quality(facts, advice, tuple(list(regions)[i] for i in telling_frames(looks)), shown)


def _judge(
    picture: torch.Tensor,
    mask: torch.Tensor | None,
    clip: torch.Tensor,
    index: int | None,
    usual: Box,
    detector: Detector,
) -> PortraitQuality:
    """Judges the portrait on the clip's own frame that it was made from, where that is known, else by itself."""
    frame, picture = picture[..., :3].float(), picture[..., :3].float()
    in_clip = index is not None and 0 <= index < len(clip) and picture.shape == clip[index, ..., :3].shape
    if in_clip:
        frame = clip[index, ..., :3].float().to(picture.device)
    kept = _mask_of(picture, frame, mask, in_clip)
    face = max(faces_in(frame, detector), key=lambda face: area(face.box), default=None)
    height, width = frame.shape[:2]
    middle = usual if in_clip else box_of(np.array([width, height, 3 * width, 3 * height]) / 4)
    box = middle if face is None else face.box
    return judge_portrait(frame, kept, box, look_at(frame, box))


def _mask_of(
    picture: torch.Tensor, frame: torch.Tensor, mask: torch.Tensor | None, in_clip: bool
) -> torch.Tensor | None:
    """(H, W); without a mask, what of the frame is unchanged on the portrait."""
    if mask is None:
        return ((picture - frame).abs().amax(dim=-1) < SAME_COLOR).float() if in_clip else None
    if mask.dim() != 3 or mask.shape[1:] != picture.shape[:2]:
        raise SlotIDError(
            f"portrait_mask has shape {tuple(mask.shape)}, the portrait {tuple(picture.shape)}. Connect both outputs "
            "of one Select Portrait."
        )
    return mask[0].float()


def motion_energy(clip: torch.Tensor, box) -> float:
    """Mean change of the face's pixels from frame to frame, in percent of the range."""
    left, top, right, bottom = (int(value) for value in box)
    face = clip[:, max(0, top) : max(top + 1, bottom), max(0, left) : max(left + 1, right), :3].float().mean(dim=-1)
    small = functional.interpolate(face[:, None], size=(MOTION_SIDE, MOTION_SIDE), mode="area")
    return float(100 * small.diff(dim=0).abs().mean()) if len(clip) > 1 else 0.0


def covered_frames(looks: np.ndarray) -> list[int]:
    """Examined frames on which a part of the face is hidden for a moment, from (N, D) appearances in order of time.

    A hand or a cup changes a few blocks at once, leaves the others as they are, and then the old pattern is back. What
    is worn all the time (glasses, a mask) cannot be distinguished from the face in this way, and a mouth that opens
    wide and shuts again may be taken for a cover.
    """
    side = APPEARANCE // BLOCKS
    blocks = looks.reshape(len(looks), BLOCKS, side, BLOCKS, side)

    def distance(first: int, second: int) -> np.ndarray:
        return np.sqrt(((blocks[first] - blocks[second]) ** 2).sum(axis=(1, 3)))

    covered: set[int] = set()
    for index in range(len(looks) - 2):
        change = distance(index, index + 1)
        hidden = change > COVERED
        if not 2 <= hidden.sum() <= 10 or np.median(change[~hidden]) > UNCHANGED:
            continue
        later = range(index + 2, min(len(looks), index + 2 + LONGEST_COVER))
        free = next((other for other in later if distance(index, other)[hidden].max() < BACK), None)
        if free is not None:
            covered.update(range(index + 1, free))
    return sorted(covered)


def telling_frames(looks: np.ndarray, count: int = 5) -> list[int]:
    """The most usual of (N, D) appearances, then each time the one that differs most from all taken so far."""
    chosen = [int(np.linalg.norm(looks - np.median(looks, axis=0), axis=1).argmin())]
    while len(chosen) < min(count, len(looks)):
        nearest = np.linalg.norm(looks[:, None] - looks[chosen], axis=2).min(axis=1)  # (N,)
        chosen.append(int(nearest.argmax()))
    return list(dict.fromkeys(chosen))


def _steady_boxes(faces: dict[int, Face | None], shape) -> dict[int, tuple]:
    """Every examined frame's face at the usual size; the usual place where none was found, else the middle."""
    found = np.array([face.box for face in faces.values() if face is not None])
    height, width = shape[1:3]
    usual = np.median(found, axis=0) if len(found) else np.array([width, height, 3 * width, 3 * height]) / 4
    half = max(usual[2] - usual[0], usual[3] - usual[1]) / 2
    boxes = {}
    for index, face in faces.items():
        box = usual if face is None else np.array(face.box)
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        boxes[index] = (x - half, y - half, x + half, y + half)
    return boxes


def _pose(faces: list[Face]) -> dict:
    angles = np.array([head_angles(face.landmarks) for face in faces if face.landmarks is not None])
    if not len(angles):
        return {"method": "none: this detector sees no landmarks; change stands for it"}
    yaw, pitch = np.percentile(angles[:, :2], [5, 95], axis=0).T
    return {
        "method": "five landmarks",
        "yaw_degrees": [round(float(value), 1) for value in yaw],
        "pitch_degrees": [round(float(value), 1) for value in pitch],
    }


def _advice(facts: dict):
    if facts["face_seen"] < FULL_TRACK:
        yield Advice(
            "face_seen",
            f"The face is seen on only {_percent(facts['face_seen'], FULL_TRACK)} of the frames.",
            "Keep the face in the picture and turned to the camera, without hands before it.",
            facts["face_seen"] < 0.4,
        )
    if (facts["people"] or 1) > 1:
        yield Advice(
            "people",
            f"{facts['people']} people are in the clip.",
            "Film the person alone, or set subject in Track Face and check the overlay.",
        )
    if facts["face_pixels"] is not None and facts["face_pixels"] < SMALL_FACE:
        yield Advice(
            "face_pixels",
            f"The face is only {compared(facts['face_pixels'], SMALL_FACE, 0)} pixels large.",
            "Go closer until the face fills a third of the picture's height, or raise short_side.",
        )
    if facts["sharpness"] < SOFT:
        yield Advice(
            "sharpness",
            f"The face is soft (sharpness {compared(facts['sharpness'], SOFT)}; {SOFT} and more is good).",
            "Wipe the lens, rest the camera, focus on the eyes, and use more light.",
            facts["sharpness"] < 0.7 * SOFT,
        )
    if facts["exposure"] < BADLY_LIT:
        dark = facts["brightness"] < 0.5
        yield Advice(
            "exposure",
            f"The face is too {'dark' if dark else 'bright'} (mean brightness {facts['brightness']:.2f} of 1).",
            "Face a window or a lamp." if dark else "Move out of the direct light, or lower the exposure on the face.",
            facts["exposure"] < 0.4 * BADLY_LIT,
        )
    if facts["side_light"] > ONE_SIDED:
        yield Advice(
            "side_light",
            f"One side of the face is {_percent(facts['side_light'], ONE_SIDED)} darker than the other.",
            "Turn towards the light, so that it comes from the front.",
        )
    yield from _movement_advice(facts)
    if facts["covered"] >= COMMON_COVER:
        yield Advice(
            "covered",
            f"Part of the face is covered or turned away for a moment on {facts['covered']:.0%} of the frames.",
            "Keep hands, hair, cups and microphones away from the face.",
        )
    if facts["frames"] < FULL_LENGTH:
        yield Advice(
            "frames",
            f"The clip has {facts['frames']} frames; adapters are usually trained on {FULL_LENGTH}.",
            "Film at least three seconds without a cut.",
        )


def _movement_advice(facts: dict):
    if facts["change"] < STILL:
        yield Advice(
            "change",
            "The face does not move: this is a still picture.",
            "Film a video: turn the head slowly to both sides, talk, smile.",
            True,
        )
    elif facts["change"] < STIFF:
        yield Advice(
            "change",
            f"The face changes little (change {compared(facts['change'], STIFF)}; {STIFF} and more is good).",
            "Turn the head slowly to both sides, talk, smile; or search the best window of a longer clip.",
        )
    yaw = facts["pose"].get("yaw_degrees")
    if yaw is not None:
        sides = [side for side, degrees in (("left", -yaw[0]), ("right", yaw[1])) if degrees < FRONTAL_DEGREES]
        if sides:
            yield Advice(
                "pose",
                f"The face never turns to the picture's {' or '.join(sides)} (yaw "
                f"{compared(yaw[0], -FRONTAL_DEGREES, 0)}° to {compared(yaw[1], FRONTAL_DEGREES, 0)}°).",
                f"Turn the head slowly to the {' and the '.join(sides)}, about 30°.",
            )


def _percent(share: float, limit: float) -> str:
    return f"{compared(100 * share, 100 * limit, 0)}%"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)
