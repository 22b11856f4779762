"""How good a portrait is: the face on it, and how it was cut out; and what to film instead.

Limits were set on studio portraits of 82 people before backgrounds made for it, and checked on 20 others
(`tests/core/test_report_portraits.py`).
"""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ..faces.face import Box
from ..faces.measure import exposure, face_region, sharpness, side_light
from ..portrait.looks import looks_of
from ..portrait.parts import SIDE, Parts, find_face_parts, find_parts, placed, square_around
from .advice import Advice, compared
from .cut_quality import cut_facts

NEARER = 1.75  # the same for a second look at the cut
LUMINANCE = (0.299, 0.587, 0.114)
# Limits. The face: pixels of its box, sharpness, brightness of what is bright in it, light, eyes, gaze, pose.
SMALL, SOFT, DIM, BURNT, ONE_SIDED = 80, 0.33, 0.3, 0.1, 0.35
SHUT, ASIDE, TURNED, SIDEWAYS = 0.92, 0.45, 0.24, 0.45
# The cut: shares of hair, and areas as shares of the face's box.
HAIR_LOST, PERSON_LOST, BACKGROUND_KEPT, STRAIGHT, BORDER = 0.12, 0.05, 0.09, 1.3, 0.5
UNSURE = 0.05  # for what is veiled, and for what two looks disagree about


@dataclass(frozen=True)
class PortraitQuality:
    """`facts` is JSON-ready; `verdict` is "good", "usable" or "poor"."""

    facts: dict
    advice: tuple[Advice, ...]

    @property
    def verdict(self) -> str:
        if any(item.serious for item in self.advice):
            return "poor"
        return "usable" if self.advice else "good"


@dataclass(frozen=True)
class Seen:
    """What the parts network found in a frame: parts of the face (7, H, W), and `views` of the whole person."""

    close: Tensor
    views: list[Parts]


def look_at(frame: Tensor, box: Box) -> Seen:
    """Looks at one frame (H, W, 3) with a face in `box`."""
    whole = find_parts(frame[None], [box])
    nearer = find_parts(frame[None], [box], widest=NEARER)
    height, width = frame.shape[:2]
    inside = placed(torch.ones(1, SIDE, SIDE), square_around(box, height, width, NEARER), height, width) > 0.5
    second = Parts(
        torch.where(inside, nearer.alpha, whole.alpha), torch.where(inside[:, None], nearer.parts, whole.parts)
    )
    return Seen(find_face_parts(frame[None], [box], mirrored=True)[0], [whole, second])


def judge_portrait(
    frame: Tensor, mask: Tensor | None, box: Box, seen: Seen, face_pixels: float | None = None
) -> PortraitQuality:
    """Judges a portrait and its cut.

    Args:
        frame: (H, W, 3) in [0, 1], uncut if it is at hand, else the portrait.
        mask: (H, W) in [0, 1], what of the frame the portrait keeps; None where nobody knows.
        box: the face in pixels of the frame.
        seen: of the same frame.
        face_pixels: side of the face in the video, where it was resized since.
    """
    side = max(box[2] - box[0], box[3] - box[1])
    region = face_region(frame, box)
    luminance = frame[..., :3].float() @ frame.new_tensor(LUMINANCE).float()
    looks = looks_of(seen.close, luminance, side)
    facts = {
        "face_pixels": round(side if face_pixels is None else face_pixels, 1),
        "sharpness": _rounded(sharpness(region)),
        "bright_parts": _rounded(_bright(region)),
        "burnt": _rounded(float((region > 0.98).float().mean())),
        "exposure": _rounded(exposure(region)),
        "side_light": _rounded(side_light(region)),
        "eye_opening": _rounded(looks.opening),
        "eyes_seen": _rounded(looks.eyes_seen),
        "gaze": _rounded(looks.gaze),
        "turn": _rounded(looks.turn),
    }
    if mask is not None:
        facts |= {name: _rounded(value) for name, value in asdict(cut_facts(mask, box, seen.views)).items()}
    advice = list(_light_advice(facts))
    # In a blurred or dark picture the network sees too little to be believed.
    if facts["sharpness"] >= SOFT and facts["bright_parts"] >= DIM:
        advice += [*_pose_advice(facts), *_cut_advice(facts)]
    return PortraitQuality(facts, tuple(advice))


def _bright(region: Tensor) -> float:
    """Brightness of the face's bright parts: highlights and the whites of the eyes are bright in every skin."""
    return float(torch.quantile(region.flatten(), 0.97))


def _light_advice(facts: dict):
    if facts["sharpness"] < SOFT:
        yield Advice(
            "portrait_sharpness",
            f"The portrait is soft (sharpness {compared(facts['sharpness'], SOFT)}; {SOFT} and more is good).",
            "Hold still for a second, focus on the eyes, use more light; or raise rank in Select Portrait.",
            facts["sharpness"] < 0.75 * SOFT,
        )
    if facts["bright_parts"] < DIM:
        yield Advice(
            "portrait_dark",
            f"The portrait is dark (its brightest parts have {facts['bright_parts']:.0%} of full brightness).",
            "Face a window or a lamp.",
            facts["bright_parts"] < 0.75 * DIM,
        )
    if facts["burnt"] > BURNT:
        yield Advice(
            "portrait_burnt",
            f"{facts['burnt']:.0%} of the portrait's face is burnt out.",
            "Move out of the direct light, or lower the exposure on the face.",
        )
    if facts["face_pixels"] < SMALL:
        yield Advice(
            "portrait_pixels",
            f"The portrait's face is only {compared(facts['face_pixels'], SMALL, 0)} pixels large.",
            "Go closer until the face fills a third of the picture's height, or raise short_side.",
        )


def _pose_advice(facts: dict):
    if facts["turn"] is None:
        yield Advice(
            "no_face",
            "On the portrait neither nose nor mouth is seen.",
            "Film a moment in which the face looks into the camera with nothing before it.",
            True,
        )
    elif facts["turn"] > TURNED:
        yield Advice(
            "turn",
            "The head on the portrait is turned aside.",
            "Film a moment in which the face looks into the camera, or raise rank in Select Portrait.",
            facts["turn"] > SIDEWAYS,
        )
    elif facts["eyes_seen"] is not None and facts["eyes_seen"] < SHUT:
        yield Advice(
            "eyes_seen",
            "An eye on the portrait is shut or hidden.",
            "Raise rank in Select Portrait, or film a moment with both eyes open and nothing before them.",
            True,
        )
    elif facts["gaze"] is not None and facts["gaze"] > ASIDE:
        yield Advice(
            "gaze",
            "The eyes on the portrait look aside.",
            "Look into the camera for a second while filming.",
        )
    if facts["turn"] is not None and facts["turn"] <= TURNED and facts["side_light"] > ONE_SIDED:
        yield Advice(
            "portrait_side_light",
            "One side of the portrait's face is "
            f"{compared(100 * facts['side_light'], 100 * ONE_SIDED, 0)}% darker than the other.",
            "Turn towards the light, so that it comes from the front.",
        )


def _cut_advice(facts: dict):
    if "hair_lost" not in facts:
        return
    lost = facts["hair_lost"] > HAIR_LOST or facts["person_lost"] > PERSON_LOST
    if lost:
        hair = facts["hair_lost"] > HAIR_LOST
        yield Advice(
            "hair_lost" if hair else "person_lost",
            f"The cut has lost {facts['hair_lost']:.0%} of the hair."
            if hair
            else "The cut has lost a part of the head.",
            "Connect a mask of any matting node to Select Portrait, or film before a background of another colour "
            "than the hair.",
            True,
        )
    if facts["background_kept"] > BACKGROUND_KEPT:
        yield Advice(
            "background_kept",
            f"The cut has kept background, {facts['background_kept']:.0%} of the face's area.",
            "Film before a plain, distant background, or connect a mask of any matting node to Select Portrait.",
            facts["background_kept"] > 4 * BACKGROUND_KEPT,
        )
    if facts["straight"] > STRAIGHT and not lost and facts["background_kept"] <= BACKGROUND_KEPT:
        yield Advice(
            "straight",
            "The outline of the head runs straight, as if hair had been cut off with a knife.",
            "Compare portrait and frame; connect a mask of any matting node to Select Portrait.",
        )
    if max(facts["unsure"], facts["veiled"]) > UNSURE:
        yield Advice(
            "unsure",
            "Where the person ends is hard to see in this frame.",
            "Look at the portrait's edge. Film before a plain background of another colour than hair and clothes.",
        )
    if facts["border"] > BORDER:
        yield Advice(
            "border",
            "The head reaches over the picture's edge.",
            "Film with room above and beside the hair, or raise margin in Track Face.",
        )


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None
