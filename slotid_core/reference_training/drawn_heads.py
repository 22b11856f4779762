"""A store of drawn heads with everything that is known of them: rendering takes longer than a training step."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from ..files import whole_file
from ..toy_world.landmarks import eyes_open, face_landmarks
from ..toy_world.person import HELD_OUT_FROM, sample_person
from ..toy_world.render import draw_parts, head_boxes, reference_motion

SIZE = 160  # pixels of a stored frame
FRAMES = 33  # of the motion that a frame is taken from
AT_ONCE = 8  # frames rendered at once, which is several times faster than one by one


@dataclass(frozen=True)
class DrawnHeads:
    """Frames of training people, one of each.

    Attributes:
        frames: (N, 3, SIZE, SIZE) uint8.
        parts: (N, PARTS, SIZE, SIZE) uint8, 255 where a pixel is all that part; see `toy_world.canvas`.
        landmarks: (N, 5, 2) pixels: eyes, nose, mouth corners.
        eyes: (N, 2) from 0, closed, to 1; NaN where turned away.
        boxes: (N, 4) of the head in pixels.
    """

    frames: Tensor
    parts: Tensor
    landmarks: Tensor
    eyes: Tensor
    boxes: Tensor

    def __len__(self) -> int:
        return len(self.frames)


def drawn_heads(folder: Path, count: int) -> DrawnHeads:
    """Renders `count` heads into `folder`, or reads those that lie there."""
    path = folder / f"drawn_heads_{count}.safetensors"
    if not path.is_file():
        pieces = [render_heads(start) for start in tqdm(range(0, count, AT_ONCE), desc="drawing heads", mininterval=5)]
        tensors = {name: torch.cat([piece[name] for piece in pieces]).contiguous() for name in pieces[0]}
        with whole_file(path, ending="") as unfinished:
            save_file(tensors, unfinished)
    return DrawnHeads(**load_file(path))


def render_heads(number: int) -> dict[str, Tensor]:
    """`AT_ONCE` heads of people, scenes and moments that the number decides."""
    rng = np.random.default_rng((number, 83))
    people, scenes, motions = [], [], []
    for _ in range(AT_ONCE):
        person = sample_person(int(rng.integers(HELD_OUT_FROM)))
        scene, motion = reference_motion(person, int(rng.integers(HELD_OUT_FROM)), FRAMES)
        at = int(rng.integers(FRAMES))
        people.append(person), scenes.append(scene), motions.append(motion.frames(at, at + 1))
    frames, parts = draw_parts(people, scenes, motions, SIZE)
    each = list(zip(people, scenes, motions, strict=True))
    return {
        "frames": (frames[:, 0].permute(0, 3, 1, 2) * 255).round().byte(),
        "parts": (parts[:, 0].permute(0, 3, 1, 2) * 255).round().byte(),
        "landmarks": torch.from_numpy(np.stack([face_landmarks(p, s, m, SIZE)[0] for p, s, m in each])).float(),
        "eyes": torch.from_numpy(np.stack([eyes_open(p, m)[0] for p, _, m in each])).float(),
        "boxes": torch.from_numpy(np.stack([head_boxes(s, m, SIZE)[0] for _, s, m in each])).float(),
    }
