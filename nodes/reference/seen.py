"""What the reference nodes show in the page: people in the clip, candidates for the portrait, the timeline."""

import torch

from ...slotid_core.reference.faces.best_window import Survey
from ...slotid_core.reference.faces.face_clip import FaceClip
from ...slotid_core.reference.faces.tracking import Track, boxes_for_every_frame
from ...slotid_core.reference.portrait.select import Portrait
from ..shared.seen import Told, clip_file, picture_files, show

MOST_MARKS = 600  # of faces and of windows on a timeline: more than it has pixels for


def tracked(frames: torch.Tensor, found: FaceClip, by_picture: bool) -> Told:
    """The clip, everybody in it, and the crop; boxes (left, top, right, bottom) in pixels of the clip that is played.

    Args:
        by_picture: a picture said who is followed, and not the number.
    """
    clip = clip_file(frames, 0.0)
    scale = clip.get("scale", 1.0)
    subject = found.report["subject"]
    people = [_person(track, len(frames), scale) for track in found.people]
    if found.boxes is not None:  # the one who is followed is there on every frame, seen or guessed
        people[subject] |= {"first": 0, "boxes": _rounded(found.boxes, scale)}
    left_top, sides = found.squares[:, :2], found.squares[:, 2:]
    crop = torch.cat([torch.as_tensor(left_top), torch.as_tensor(left_top + sides)], dim=1)
    return show(
        "faces", clip=clip, people=people, subject=subject, crop=_rounded(crop.numpy(), scale), by_picture=by_picture
    )


def _person(track: Track, frames: int, scale: float) -> dict:
    seen = sorted(track.faces)
    boxes = boxes_for_every_frame(track, frames)[seen[0] : seen[-1] + 1]
    return {"first": seen[0], "boxes": _rounded(boxes, scale), "detected": seen}


def _rounded(boxes, scale: float) -> list[list[int]]:
    return [[round(float(value) * scale) for value in box] for box in boxes]


def portraits(chosen: Portrait, rank: int) -> Told:
    """The ranked candidates with what speaks against each, and which of them became the portrait."""
    words = [", ".join(score["spoilt"]).capitalize() for score in chosen.report["candidates"]]
    return show(
        "candidates", **picture_files(chosen.candidates), frames=list(chosen.frames), rank=rank,
        words=[f"{text}." if text else "" for text in words],
    )  # fmt: skip


def surveyed(survey: Survey, file: str, from_socket: bool, frames: int, rate: float) -> Told:
    """The whole clip: where faces were seen, the windows that were compared, cuts, and the window that was read.

    Args:
        file: the widget's value, by which the page knows whether this is still the clip that is chosen.
        from_socket: another node gave the clip, and the page cannot play it.
    """
    best = survey.best
    return show(
        "timeline", file=file, from_socket=from_socket, duration=round(survey.duration, 3), rate=rate, frames=frames,
        start=round(best.start_seconds, 3), searched=bool(best.parts),
        faces=[[round(seconds, 2), bool(seen)] for seconds, seen in _spread(survey.faces)],
        windows=[[round(one.start_seconds, 2), round(one.total, 4)] for one in _spread(_in_order(survey)) if one.parts],
        cuts=[round(cut, 2) for cut in survey.cuts],
    )  # fmt: skip


def _in_order(survey: Survey) -> list:
    return sorted(survey.windows, key=lambda window: window.start_seconds)


def _spread(items: list) -> list:
    return items[:: -(-len(items) // MOST_MARKS) or 1]
