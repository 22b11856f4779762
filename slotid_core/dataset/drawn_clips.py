"""Pictures of drawn people: target, face clip and portrait, by default in scenes that have nothing to do with each
other."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..reference.faces.crop import cut_squares, resized, square_path
from ..reference.faces.detector import Detector
from ..reference.faces.drawn_faces import find_drawn_faces
from ..reference.faces.face_clip import make_face_clip
from ..reference.portrait.select import select_portrait
from ..toy_world.face_pictures import as_if_detected
from ..toy_world.motion import move
from ..toy_world.person import Person, factors_of, sample_person
from ..toy_world.render import (
    draw,
    draw_parts,
    head_boxes,
    portrait_motion,
    reference_motion,
    render_portrait,
)
from ..toy_world.scene import sample_scene
from .clip import Clip
from .config import PrepareConfig, ToyWorldSource
from .pixels import Pixels
from .source import Window
from .toy_world_source import scene_seed

FINER = 2  # drawn at so many times the size of the crop, as a real video is larger than the crop from it
SMOOTHING = 8  # frames, as the face tracker's default
NO_FACE = 2  # of a canvas's parts: background and body


class DrawnClips:
    """See `source.Source`."""

    shares_faces = True
    detector: Detector | None = None

    def __init__(self, config: PrepareConfig):
        self.config = config

    def windows(self, clip: Clip) -> list[Window]:
        return [lambda: drawn_pixels(clip, self.config)]


def _source(config: PrepareConfig) -> ToyWorldSource:
    assert config.toy_world is not None  # `sources.open_source` draws clips for this source alone
    return config.toy_world


def drawn_pixels(clip: Clip, config: PrepareConfig) -> Pixels:
    """Draws the sample; the same for the same clip and settings."""
    sizes = config.sizes
    person = sample_person(clip.person_seed)
    scene = sample_scene(scene_seed(clip.person_seed, clip.number))
    size = max(sizes.height, sizes.width)
    motion = move(person, scene, sizes.frames)
    video, drawn = draw_parts([person], [scene], [motion], size)
    video, drawn = video[0], drawn[0]  # (T, size, size, 3), (T, size, size, 8)
    boxes = head_boxes(scene, motion, size)
    squares = square_path(boxes, size, size, config.margin, smoothing=0)
    top, left = (size - sizes.height) // 2, (size - sizes.width) // 2
    video = video[:, top : top + sizes.height, left : left + sizes.width]

    number = _source(config).reference_number(clip.number)
    faces = _face_pictures(clip.person_seed, number, config)
    facts = {
        "window": {"start": 0.0, "frames": config.frames, "frames_per_second": config.frames_per_second},
        "detector": faces.detector,
        "crop": {"square_pixels": faces.square_pixels},
    }
    factors, squares = factors_of(person), squares - [left, top, 0]

    def video_parts() -> Tensor:
        return _of_a_face(drawn)[:, top : top + sizes.height, left : left + sizes.width]

    return Pixels(
        video, faces.reference, faces.portrait, faces.picture, factors, facts, squares, video_parts, faces.parts,
        faces.frames,
    )  # fmt: skip


def _of_a_face(parts: Tensor) -> Tensor:
    """A canvas's parts (T, h, w, 8) -> (T, h, w, 7), those of `reference.portrait.parts`; no face is one of them."""
    return torch.cat([parts[..., :NO_FACE].sum(dim=-1, keepdim=True), parts[..., NO_FACE:]], dim=-1)


@dataclass(frozen=True)
class _Faces:
    """reference (T, H, H, 3), portrait and uncut picture (1, P, P, 3); mean side of the reference's crop; the picture's
    parts as drawn, where they are known; frames of the reference (T, P, P, 3) as uncut pictures."""

    reference: Tensor
    portrait: Tensor
    picture: Tensor
    square_pixels: float
    detector: str
    parts: Callable[[], Tensor] | None = None
    frames: Callable[[], Tensor] | None = None


@lru_cache(maxsize=8)  # a person's clips share them in turn, and follow each other
def _face_pictures(person_seed: int, number: int, config: PrepareConfig) -> _Faces:
    person, scene = sample_person(person_seed), sample_scene(scene_seed(person_seed, number))
    rng = np.random.default_rng((person_seed, number, 67))
    kind, seed = _source(config).reference, scene_seed(person_seed, number, part=1)
    count = config.sizes.reference_frames
    if kind == "same clip":
        motion = move(person, scene, count)
    else:
        scene, motion = reference_motion(person, seed, count)
    size = FINER * config.sizes.reference_size
    frames = draw([person], [scene], [motion], size)[0]
    # A seed of its own: the other references stay as they are for any share.
    as_user = np.random.default_rng((person_seed, number, 73)).random() < _source(config).as_users
    if as_user:
        faces = _found_faces(frames, config)
    else:
        squares = square_path(
            as_if_detected(head_boxes(scene, motion, size), rng), size, size, config.margin, SMOOTHING
        )
        reference = cut_squares(frames, squares, config.sizes.reference_size)
        portrait, parts = _portrait(person, config, rng)
        side = round(float(squares[:, 2].mean()) / FINER, 3)

        def pictures() -> Tensor:
            return cut_squares(frames, squares, config.sizes.portrait_size)

        faces = _Faces(reference, portrait, portrait, side, "the drawing's own head boxes", parts, pictures)
    if kind == "shuffled":
        order = np.random.default_rng((seed, 71)).permutation(count)
        faces = replace(faces, reference=faces.reference[order])
    return faces


def _found_faces(frames: Tensor, config: PrepareConfig) -> _Faces:
    """What the nodes make of a clip: Track Face, Select Portrait, then shrunk as Encode Reference does."""
    sizes, detector = config.sizes, find_drawn_faces()
    finer = FINER * max(sizes.reference_size, sizes.portrait_size)
    found = make_face_clip(frames, detector, finer, config.margin, SMOOTHING, on_missing="skip")
    chosen = select_portrait(found.clip, detector, candidates=1)
    picture = found.clip[[chosen.frames[0]]]
    return _Faces(
        resized(found.clip, sizes.reference_size), resized(chosen.image, sizes.portrait_size),
        resized(picture, sizes.portrait_size), round(float(found.squares[:, 2].mean()) / FINER, 3), detector.name,
        frames=lambda: resized(found.clip, sizes.portrait_size),
    )  # fmt: skip


def _portrait(person: Person, config: PrepareConfig, rng) -> tuple[Tensor, Callable[[], Tensor]]:
    """(1, P, P, 3) and its parts."""
    portrait_size = config.sizes.portrait_size
    size = FINER * portrait_size
    boxes = as_if_detected(head_boxes(*portrait_motion(), size), rng)
    squares = square_path(boxes, size, size, config.margin, smoothing=0)

    def parts() -> Tensor:
        scene, motion = portrait_motion()
        drawn = draw_parts([person], [scene], [motion], size)[1][0]
        return cut_squares(_of_a_face(drawn), squares, portrait_size)

    return cut_squares(torch.stack([render_portrait(person, size)]), squares, portrait_size), parts
