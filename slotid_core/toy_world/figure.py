"""What the drawing of a frame depends on: person, scene and motion of every frame, as tensors."""

import numpy as np
import torch
from torch import Tensor

from .canvas import color
from .motion import Motion
from .person import HAIR_COLORS, SKIN_TONES, Person
from .scene import Scene

HEAD_HEIGHT = 0.48  # in halves of a frame's side at zoom 1


class Figure:
    """Parameters of all frames as tensors (N,), one row a frame.

    The fields of `Person`, those of `Scene` with the prefix "scene_", and those of `Motion`, all set by `__init__`.
    """

    skin: Tensor
    hair_color: Tensor
    hair_style: Tensor
    hair_volume: Tensor
    face_width: Tensor
    jaw: Tensor
    eye_color: Tensor
    eye_size: Tensor
    eye_spacing: Tensor
    brow_thickness: Tensor
    brow_tilt: Tensor
    nose_width: Tensor
    nose_length: Tensor
    mouth_width: Tensor
    lip_fullness: Tensor
    ear_size: Tensor
    glasses: Tensor
    frame_color: Tensor
    beard: Tensor
    freckles: Tensor
    blush: Tensor
    temple_mark: Tensor
    neck_tattoo: Tensor
    ear_stud: Tensor
    smile_asymmetry: Tensor
    smile_onset: Tensor
    nod_frequency: Tensor
    nod_amplitude: Tensor
    talk_cadence: Tensor
    sway: Tensor
    scene_action: Tensor
    scene_background: Tensor
    scene_clothes: Tensor
    scene_light: Tensor
    scene_light_side: Tensor
    scene_warmth: Tensor
    scene_zoom: Tensor
    scene_shift_x: Tensor
    scene_shift_y: Tensor
    scene_yaw: Tensor
    scene_phase: Tensor
    yaw: Tensor
    pitch: Tensor
    roll: Tensor
    smile_left: Tensor
    smile_right: Tensor
    mouth_open: Tensor
    brow_raise: Tensor
    eye_open: Tensor
    bob: Tensor

    def __init__(self, people: list[Person], scenes: list[Scene], motions: list[Motion]):
        lengths = torch.tensor([len(motion.yaw) for motion in motions])

        def per_frame(values) -> Tensor:
            return torch.tensor(values).repeat_interleave(lengths)

        for name in Person.__dataclass_fields__:
            setattr(self, name, per_frame([getattr(person, name) for person in people]))
        for name in Scene.__dataclass_fields__:
            setattr(self, f"scene_{name}", per_frame([getattr(scene, name) for scene in scenes]))
        for name in Motion.__dataclass_fields__:
            values = np.concatenate([getattr(motion, name) for motion in motions])
            setattr(self, name, torch.from_numpy(values).float())
        tones = torch.stack([color(tone) for tone in SKIN_TONES])
        place = self.skin * (len(SKIN_TONES) - 1)
        lower = place.long().clamp(max=len(SKIN_TONES) - 2)
        self.skin_color = torch.lerp(tones[lower], tones[lower + 1], (place - lower)[:, None])
        self.skin_shade = self.skin_color * torch.tensor([0.86, 0.79, 0.77])
        self.hair_tone = torch.stack([color(tone) for tone in HAIR_COLORS])[self.hair_color]
        self.head_width = 0.36 + 0.07 * self.face_width
        self.head_height = torch.full_like(self.head_width, HEAD_HEIGHT)
