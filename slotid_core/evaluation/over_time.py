"""What a long video loses: likeness, flicker, detail and colour over time, and from its first to its last piece.

Blurring lowers flicker as well, so detail stands beside it.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .estimators import estimate, mean
from .intervals import bootstrap, bootstrap_difference

EVERY = 4  # frames from one look to the next: those of one latent frame
CURVES = ("similarity", "consistency", "flicker", "detail", "colour")


@dataclass(frozen=True)
class OverTime:
    """Measures long clips of people.

    Attributes:
        faces: the face judge; gallery: a unit vector of each person, (people, D). Both are those of `Metrics`.
    """

    faces: torch.nn.Module
    gallery: Tensor

    @torch.no_grad()
    def curves(self, clips: Tensor) -> dict[str, np.ndarray]:
        """Clips (people, prompts, 4n+1, H, W, 3) -> each of `CURVES` (people, prompts, looks), a look every 4 frames.

        similarity: cosine between the face and the person's; consistency: between the face and that of the look before.
        flicker: mean distance of a frame from the mean of its neighbours, which steady movement does not have.
        detail: root mean squared difference of neighbouring pixels. colour: root mean squared change of the frame's
        mean colour since the first look. The last three are shares of white.
        """
        found = [self.of_clip(clip, self.gallery[person]) for person, row in enumerate(clips) for clip in row]
        people, prompts = clips.shape[:2]
        return {name: np.stack([one[name] for one in found]).reshape(people, prompts, -1) for name in CURVES}

    def of_clip(self, clip: Tensor, person: Tensor) -> dict[str, np.ndarray]:
        """The same of a clip (4n+1, H, W, 3); `person` is the gallery's vector."""
        looks = clip[::EVERY]
        faces = F.normalize(self.faces(looks.movedim(-1, 1)), dim=1)
        neighbours = (faces[1:] * faces[:-1]).sum(1)
        flicker = (clip[1:-1] - 0.5 * (clip[:-2] + clip[2:])).abs().mean((1, 2, 3))  # of frames 1 to T - 2
        flicker = torch.cat([flicker, flicker[-1:]])  # nothing comes after the last frame
        whole = flicker.view(-1, EVERY).mean(1)
        across = (looks.diff(dim=1).square().mean((1, 2, 3)) + looks.diff(dim=2).square().mean((1, 2, 3))).sqrt()
        colour = looks.mean((1, 2))
        count = len(looks)
        return {
            "similarity": (faces @ person).numpy(),
            "consistency": padded(neighbours, count),
            "flicker": padded(whole, count),
            "detail": across.numpy(),
            "colour": (colour - colour[:1]).square().mean(1).sqrt().numpy(),
        }


def padded(values: Tensor, count: int) -> np.ndarray:
    """As many looks as the others, NaN in front, where there is nothing before."""
    return np.concatenate([np.full(count - len(values), np.nan), values.numpy()])


def summary(curves: dict[str, np.ndarray], looks: int) -> dict[str, np.ndarray]:
    """Figures (people, prompts): each curve's mean, and `drift.<curve>`, its last piece minus its first.

    Args:
        looks: of a piece, two or more: nothing lies before the first one.
    """
    figures = {}
    for name, values in curves.items():
        figures[name] = np.nanmean(values, axis=2)
        figures[f"drift.{name}"] = np.nanmean(values[..., -looks:], axis=2) - np.nanmean(values[..., :looks], axis=2)
    return figures


def flat(prefix: str, figures: dict[str, np.ndarray]) -> dict[str, float]:
    """`<prefix>.<figure>`, with `.low` and `.high` of its 95% interval over people."""
    result = {}
    for name, values in figures.items():
        key = f"{prefix}.{name}"
        result[key] = estimate(values, mean)
        result[f"{key}.low"], result[f"{key}.high"] = bootstrap(values, mean)
    return result


def differences(prefix: str, after: dict[str, np.ndarray], before: dict[str, np.ndarray]) -> dict[str, float]:
    """As `flat`, of each figure of `after` minus that of `before`, which show the same people."""
    result = {}
    for name, values in after.items():
        key = f"{prefix}.{name}"
        result[key] = estimate(values, mean) - estimate(before[name], mean)
        result[f"{key}.low"], result[f"{key}.high"] = bootstrap_difference(values, before[name], mean)
    return result
