"""Pictures of drawn people: target, face clip and portrait, by default in scenes that have nothing to do with each
other."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..reference.faces.crop import cut_squares, square_path
from ..reference.faces.detector import Detector
from ..toy_world.motion import move
from ..toy_world.person import Person, sample_person
from ..toy_world.render import draw, head_boxes, portrait_motion, reference_motion, render_clip, render_portrait
from ..toy_world.scene import Scene, sample_scene
from .clip import Clip
from .config import PrepareConfig, ToyWorldSource
from .pixels import Pixels
from .source import Window
from .toy_world_source import scene_seed

FINER = 2  # drawn at so many times the size of the crop, as a real video is larger than the crop from it
SMOOTHING = 8  # frames, as the face tracker's default
JITTER = 0.06  # of the head's side: detectors place their boxes a little differently on everybody
SCALE = (0.65, 1.05)  # some box the whole head, others brows to chin


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
    video = render_clip(person, scene, sizes.frames, size)  # (T, size, size, 3)
    top, left = (size - sizes.height) // 2, (size - sizes.width) // 2
    video = video[:, top : top + sizes.height, left : left + sizes.width]

    number = _source(config).reference_number(clip.number)
    reference, portrait, square_pixels = _face_pictures(clip.person_seed, number, config)
    facts = {
        "window": {"start": 0.0, "frames": config.frames, "frames_per_second": config.frames_per_second},
        "detector": "the drawing's own head boxes",
        "crop": {"square_pixels": square_pixels},
    }
    return Pixels(video, reference, portrait, portrait, facts)


@lru_cache(maxsize=8)  # a person's clips share them in turn, and follow each other
def _face_pictures(person_seed: int, number: int, config: PrepareConfig) -> tuple[Tensor, Tensor, float]:
    """Face clip, portrait, and the side of the face clip's crop."""
    person, scene = sample_person(person_seed), sample_scene(scene_seed(person_seed, number))
    rng = np.random.default_rng((person_seed, number, 67))
    reference, squares = _reference(person, scene, scene_seed(person_seed, number, part=1), config, rng)
    return reference, _portrait(person, config, rng), round(float(squares[:, 2].mean()) / FINER, 3)


def _reference(person: Person, scene: Scene, seed: int, config: PrepareConfig, rng) -> tuple[Tensor, np.ndarray]:
    sizes, kind = config.sizes, _source(config).reference
    size, count = FINER * sizes.reference_size, sizes.reference_frames
    if kind == "same clip":
        motion = move(person, scene, count)
    else:
        scene, motion = reference_motion(person, seed, count)
    boxes = _as_if_detected(head_boxes(scene, motion, size), rng)
    squares = square_path(boxes, size, size, config.margin, SMOOTHING)
    frames = cut_squares(draw([person], [scene], [motion], size)[0], squares, sizes.reference_size)
    if kind == "shuffled":
        frames = frames[np.random.default_rng((seed, 71)).permutation(count)]
    return frames, squares


def _portrait(person: Person, config: PrepareConfig, rng) -> Tensor:
    portrait_size = config.sizes.portrait_size
    size = FINER * portrait_size
    boxes = _as_if_detected(head_boxes(*portrait_motion(), size), rng)
    squares = square_path(boxes, size, size, config.margin, smoothing=0)
    return cut_squares(torch.stack([render_portrait(person, size)]), squares, portrait_size)


def _as_if_detected(boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(T, 4) boxes, all moved and scaled by one random amount."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    centre = centre + 2 * half * rng.uniform(-JITTER, JITTER, 2)
    half = half * rng.uniform(*SCALE)
    return np.concatenate([centre - half, centre + half], axis=1)
