"""Other looks of the person in one clip, for pairs that a training learns from beside those of two clips.

The original makes such pairs with networks that change expression and light, replaces backgrounds, and discards what no
longer resembles the person (arXiv 2509.15496, section 4). Here expressions are other frames of the clip, and light and
backgrounds are smooth fields. `changed_by` of `other_looks` is where such a network would be put.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..ranges import Range, Share, check_ranges
from ..reference.portrait.parts import find_parts

LIGHT, TINT = 0.7, 0.12  # largest change of the light's logarithm, of all colours and of each
LIGHT_GRID, BACKGROUND_GRIDS = 3, (2, 7)  # points along a side of a smooth field
Change = Callable[[Tensor, np.random.Generator], Tensor]


@dataclass(frozen=True)
class LookSettings:
    """Looks of each face picture, for systems that have augmented pairs, and how often each has each change.

    Attributes:
        count: looks of a clip; 0 makes none.
        other_frame: another frame of the face clip, with another expression and pose.
        light: brighter and darker, warmer and colder from place to place.
        background: something else behind the person, who is cut out by the network that cuts portraits out.
    """

    count: Annotated[int, Range(0, 16)] = 0
    other_frame: Share = 0.8
    light: Share = 0.5
    background: Share = 0.5

    __post_init__ = check_ranges


def other_looks(
    picture: Tensor, frames: Tensor | None, margin: float, settings: LookSettings, changed_by: Change | None = None
) -> list[Tensor]:
    """A face picture (1, P, P, 3) in [0, 1] -> `settings.count` pictures of its shape; the same give the same.

    Args:
        frames: (T, P, P, 3), the face in other moments of the clip, if there are any.
        margin: around the face, as a share of its side.
        changed_by: a further change of each look, such as by a network that changes expressions.
    """
    seed = hashlib.sha256((picture * 255).round().to(torch.uint8).contiguous().numpy().tobytes()).digest()
    looks = []
    for number in range(settings.count):
        rng = np.random.default_rng((*seed[:16], number, 83))
        # All is drawn, so that each setting has its effect alone.
        draws = {name: float(rng.random()) for name in ("other_frame", "light", "background")}
        has = {name: draw < getattr(settings, name) for name, draw in draws.items()}
        which, side = rng.random(), int(rng.integers(*BACKGROUND_GRIDS))
        light = rng.uniform(-1, 1, (1, LIGHT_GRID, LIGHT_GRID)), rng.uniform(-1, 1, (3, LIGHT_GRID, LIGHT_GRID))
        colours = rng.uniform(0, 1, (3, side, side))
        look = picture
        if has["other_frame"] and frames is not None:
            look = frames[[int(which * len(frames))]]
        if has["background"]:
            look = before(look, colours, margin)
        if has["light"]:
            look = relit(look, *light)
        looks.append(look if changed_by is None else changed_by(look, rng))
    return looks


def relit(picture: Tensor, light: np.ndarray, tint: np.ndarray) -> Tensor:
    """A picture (1, P, P, 3) in smooth light, by draws in [-1, 1]: (1, g, g) of all colours, (3, g, g) of each."""
    size = (picture.shape[1], picture.shape[2])
    return (picture * (LIGHT * field(light, size) + TINT * field(tint, size)).exp()).clamp(0, 1)


def before(picture: Tensor, colours: np.ndarray, margin: float) -> Tensor:
    """The person of a picture (1, P, P, 3) before a smooth background of colours (3, g, g) in [0, 1]."""
    side = picture.shape[1]
    room = side * margin / (1 + 2 * margin)
    alpha = find_parts(picture, [(room, room, side - room, side - room)]).alpha.unsqueeze(-1)
    background = field(colours, (side, picture.shape[2])).clamp(0, 1)
    return picture * alpha + background * (1 - alpha)


def field(values: np.ndarray, size: tuple[int, int]) -> Tensor:
    """(C, g, g) -> (1, height, width, C), smooth between its points."""
    grid = torch.from_numpy(values).float()[None]
    return F.interpolate(grid, size=size, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
