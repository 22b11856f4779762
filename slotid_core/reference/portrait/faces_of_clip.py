"""The best moments of a person's face in a clip, each aligned as for one picture."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...errors import SlotIDError
from ..decode.clip import Progress
from ..faces.alignment import AlignedFace, align_face
from ..faces.crop import cut_squares, resized
from ..faces.detector import Detector
from ..faces.face_clip import make_face_clip
from .select import select_portrait

SIDE = 256  # pixels of the face clip in which moments are compared
MARGIN = 0.5  # around the face, as in the pictures that adapters learn from and as the face tracker's default
MOST = 16  # moments of a clip
DRAWN_SIDE = 64  # pixels of the pictures that adapters of the toy world learned from; larger ones are strange to them


@dataclass(frozen=True)
class Moment:
    """A frame of a clip, and how good it is as a picture of the face, larger is better."""

    frame: int
    merit: float


@dataclass(frozen=True)
class FacesOfClip:
    """Attributes:
    frames: which frames they are, best first.
    faces: one each.
    report: JSON-ready: tracker, how good each moment is, notes.
    """

    frames: tuple[int, ...]
    faces: tuple[AlignedFace, ...]
    report: dict

    @property
    def embedding_crops(self) -> Tensor:
        """(K, 112, 112, 3) in [0, 1]."""
        return torch.stack([face.embedding_crop for face in self.faces])

    @property
    def reference_crops(self) -> Tensor:
        """(K, 256, 256, 3) in [0, 1]; `in_the_middle` (K, 64, 64, 3)."""
        return torch.stack([face.reference_crop for face in self.faces])


def best_faces(
    frames: Tensor,
    detector: Detector,
    count: int,
    on_missing: str = "error",
    in_the_middle: bool = False,
    progress: Progress | None = None,
) -> FacesOfClip:
    """The best `count` moments of the person whom a clip shows largest and longest.

    Args:
        frames: (T, H, W, 3) in [0, 1].
        on_missing: as for `face_clip.make_face_clip`.
        in_the_middle: align by the square around the face alone, and not by landmarks, and take that square for the
            reference crop: for networks that were trained so, as the toy world's were.

    Raises:
        SlotIDError: no face was found with "error", or `count` is out of range.
    """
    if not 1 <= count <= MOST:
        raise SlotIDError(f"{count} moments of a clip were asked for; 1 to {MOST} can be had.")
    clip = make_face_clip(frames, detector, SIDE, MARGIN, on_missing=on_missing, progress=progress)
    frames = frames[..., :3]
    ranked = ranked_moments(clip.clip, detector, count)
    chosen, faces, notes = [], [], list(clip.report["notes"])
    for moment in ranked:
        place = moment.frame
        # The square alone, so that nobody else in the frame is larger.
        side = max(16, round(float(clip.squares[place, 2])))
        square = cut_squares(frames[place : place + 1], clip.squares[place : place + 1], side)
        face = align_face(square, None if in_the_middle else detector, "skip")
        faces.append(replace(face, reference_crop=resized(square, DRAWN_SIDE)[0]) if in_the_middle else face)
        chosen.append(place)
    if len(chosen) < min(count, len(frames)):
        notes.append(f"{len(chosen)} of the {count} moments that were asked for are good enough or apart in time.")
    report = {
        "detector": clip.report["detector"], "detection_rate": clip.report["detection_rate"],
        "people": clip.report["people"], "face_pixels": clip.report["face_pixels"],
        "moments": [{"frame": moment.frame, "merit": round(moment.merit, 3)} for moment in ranked], "notes": notes,
    }  # fmt: skip
    return FacesOfClip(tuple(chosen), tuple(faces), report)


def ranked_moments(face_clip: Tensor, detector: Detector, count: int) -> list[Moment]:
    """The best moments of a face clip (T, S, S, 3), apart in time; those with shut eyes or a turned head only where
    there is no other.
    """
    side = face_clip.shape[1]
    nothing_to_cut = torch.ones(1, side, face_clip.shape[2])
    found = select_portrait(face_clip, detector, candidates=count, mask=nothing_to_cut)
    candidates = found.report["candidates"]
    good = [one for one in candidates if not one["spoilt"]] or candidates[:1]
    return [Moment(one["frame"], one["total"]) for one in good]
