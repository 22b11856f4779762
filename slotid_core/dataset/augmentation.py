"""Other looks of one reference picture: what training shows so that the person is learnt and not the picture.

ST-DRC names appearance-invariant augmentation of the reference alone: colour, pose, layout (abstract). How far each
goes is ours. They are made of pixels, before the VAE: its latents of a changed picture are no change of its latents.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..ranges import Range, Share, check_ranges
from ..reference.portrait.canvas import WHITE, Placing, on_canvas

LUMA = (0.299, 0.587, 0.114)
SOFT_EDGE = 0.15  # of the ellipse's radius, over which a background fades in
BRIGHTNESS, CONTRAST, SATURATION, CHANNEL = 0.15, 0.25, 0.4, 0.12  # largest changes of colour
DEGREES, SHEAR, PERSPECTIVE = 15.0, 0.1, 0.12  # largest changes of pose
SMALLEST = 0.45  # scale of the smallest picture on its canvas


@dataclass(frozen=True)
class AugmentationSettings:
    """How many augmentations of a picture are prepared, and how often each of them has each change.

    Attributes:
        count: augmentations of a picture, besides the picture as it is.
        colour: brightness, contrast, saturation and colour cast.
        flip: left and right exchanged.
        pose: rotation, shear and perspective, as of a head that turned a little.
        layout: another scale and place on the canvas.
        background: a plain colour around the middle, where the face is.
    """

    count: Annotated[int, Range(1, 16)] = 4
    colour: Share = 0.8
    flip: Share = 0.5
    pose: Share = 0.5
    layout: Share = 0.8
    background: Share = 0.3

    __post_init__ = check_ranges


def augmentations(picture: Tensor, height: int, width: int, settings: AugmentationSettings) -> list[Tensor]:
    """A picture (1, h, w, 3) in [0, 1] -> `settings.count` pictures (1, height, width, 3).

    The same picture gives the same ones, whatever else is prepared.
    """
    seed = hashlib.sha256((picture * 255).round().to(torch.uint8).contiguous().numpy().tobytes()).digest()
    generators = (np.random.default_rng((*seed[:16], number)) for number in range(settings.count))
    return [augmented(picture, height, width, settings, rng) for rng in generators]


def augmented(
    picture: Tensor, height: int, width: int, settings: AugmentationSettings, rng: np.random.Generator
) -> Tensor:
    """One augmentation. What is drawn does not depend on the settings, so that each has its effect alone."""
    draws = {name: float(rng.random()) for name in ("colour", "flip", "pose", "layout", "background")}
    colours, corners, layout, plain = (rng.uniform(-1, 1, size) for size in (6, 5, 3, 3))
    has = {name: draw < getattr(settings, name) for name, draw in draws.items()}
    alpha = torch.ones_like(picture[..., 0])
    if has["colour"]:
        picture = recoloured(picture, colours)
    if has["flip"]:
        picture = picture.flip(2)
    if has["background"]:
        alpha = ellipse(*picture.shape[1:3])[None]
    if has["pose"]:
        picture, alpha = warped(picture, alpha, corners)
    scale, x, y = (1.0, 0.0, 0.0) if not has["layout"] else (_between(SMALLEST, 1.0, layout[0]), *layout[1:])
    red, green, blue = (plain + 1) / 2 if has["background"] else WHITE
    placing = Placing(scale, (x + 1) / 2, (y + 1) / 2, (float(red), float(green), float(blue)))
    return on_canvas(picture, height, width, placing, alpha)


def recoloured(picture: Tensor, draws: np.ndarray) -> Tensor:
    """Brightness, contrast, saturation and a cast of each channel, by six draws in [-1, 1]."""
    brightness, contrast, saturation = BRIGHTNESS * draws[0], 1 + CONTRAST * draws[1], 1 + SATURATION * draws[2]
    cast = torch.tensor(1 + CHANNEL * draws[3:6], dtype=picture.dtype)
    grey = (picture * torch.tensor(LUMA, dtype=picture.dtype)).sum(-1, keepdim=True)
    saturated = torch.lerp(grey.expand_as(picture), picture, float(saturation))
    return ((saturated * cast - 0.5) * float(contrast) + 0.5 + float(brightness)).clamp(0, 1)


def ellipse(height: int, width: int) -> Tensor:
    """(height, width): 1 in the middle, 0 in the corners, with a soft edge."""
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)[None]
    radius = (x**2 + y**2).sqrt()
    return ((1 - radius) / SOFT_EDGE + 0.5).clamp(0, 1)


def warped(picture: Tensor, alpha: Tensor, draws: np.ndarray) -> tuple[Tensor, Tensor]:
    """Picture and alpha seen from elsewhere, by five draws in [-1, 1]; alpha is 0 where nothing was."""
    turn = math.radians(DEGREES * draws[0])
    affine = np.array(
        [
            [math.cos(turn), -math.sin(turn) + SHEAR * draws[1], 0.0],
            [math.sin(turn) + SHEAR * draws[2], math.cos(turn), 0.0],
            [PERSPECTIVE * draws[3], PERSPECTIVE * draws[4], 1.0],
        ]
    )
    height, width = picture.shape[1:3]
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ torch.tensor(affine, dtype=torch.float32).T
    grid = (points[..., :2] / points[..., 2:])[None]
    layers = torch.cat([picture * alpha.unsqueeze(-1), alpha.unsqueeze(-1)], dim=-1).permute(0, 3, 1, 2)
    layers = F.grid_sample(layers, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    seen = layers[:, 3]
    colours = layers[:, :3] / seen.clamp(min=1e-3).unsqueeze(1)
    return colours.permute(0, 2, 3, 1).clamp(0, 1), seen


def _between(low: float, high: float, draw: float) -> float:
    """A draw in [-1, 1] -> from `low` to `high`."""
    return low + (high - low) * (draw + 1) / 2
