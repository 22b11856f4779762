"""Pictures of nothing: what stands behind a person when a network learns to cut people out.

Most are dead leaves (Lee, Mumford, Huang 2001): shapes of all sizes that hide each other, whose statistics of edges
are close to those of photographs.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

LEAVES = (4, 80)  # shapes of a picture: a wall with a few things on it, or a thicket


def background(rng: np.random.Generator, side: int) -> Tensor:
    """(3, side, side) in [0, 1]: dead leaves, stripes, a gradient or one colour, sharp or out of focus."""
    kind = rng.random()
    if kind < 0.62:
        picture = dead_leaves(rng, side)
    elif kind < 0.74:
        picture = stripes(rng, side)
    elif kind < 0.92:
        picture = gradient(rng, side)
    else:
        picture = colors(rng, 1)[0][:, None, None].expand(3, side, side).clone()
    picture = picture + texture(rng, side)
    if rng.random() < 0.5:
        small = int(rng.integers(side // 24, side))
        picture = F.interpolate(picture[None], (small, small), mode="bilinear", antialias=True)
        picture = F.interpolate(picture, (side, side), mode="bicubic", align_corners=False)[0]
    return picture.clamp(0, 1)


def colors(rng: np.random.Generator, count: int) -> Tensor:
    """(count, 3): about as bright as each other or not at all, mostly of little saturation, as rooms are."""
    base = rng.random((1, 3)) * rng.uniform(0.2, 1)
    color = base + rng.normal(0, rng.uniform(0.03, 0.35), (count, 3))
    grey = color.mean(axis=1, keepdims=True)
    color = grey + (color - grey) * rng.uniform(0, 1) ** 1.5
    return torch.from_numpy(color.clip(0, 1)).float()


def dead_leaves(rng: np.random.Generator, side: int) -> Tensor:
    count = int(np.exp(rng.uniform(*np.log(LEAVES))))
    tones = colors(rng, count + 1)
    picture = tones[0][:, None, None].expand(3, side, side).clone()
    y, x = torch.meshgrid(torch.arange(side) / side, torch.arange(side) / side, indexing="ij")
    # Sizes fall as their inverse cube, which makes the picture look the same at every scale.
    sizes = 1 / np.sqrt(rng.uniform(1 / 0.6**2, 1 / rng.uniform(0.02, 0.2) ** 2, count))
    upright = rng.random() < 0.5  # furniture and windows
    for size, tone in zip(sorted(sizes, reverse=True) if rng.random() < 0.7 else sizes, tones[1:], strict=True):
        angle, long = 0.0 if upright else rng.uniform(0, np.pi), rng.uniform(1, 4)
        dx, dy = x - rng.random(), y - rng.random()
        across, along = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        if rng.random() < (0.85 if upright else 0.5):
            inside = (across / size).abs().maximum((along / (size * long)).abs()) < 1
        else:
            inside = (across / size).square() + (along / (size * long)).square() < 1
        shade = 1 + (0.3 * (rng.random() - 0.5) / size) * across
        picture = torch.where(inside, tone[:, None, None] * shade, picture)
    return picture


def stripes(rng: np.random.Generator, side: int) -> Tensor:
    first, second = colors(rng, 2)
    y, x = torch.meshgrid(torch.arange(side) / side, torch.arange(side) / side, indexing="ij")
    angle, period = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)]), rng.uniform(0.03, 0.4)
    place = ((x * np.cos(angle) + y * np.sin(angle)) / period + rng.random()).remainder(1)
    return torch.where(place < rng.uniform(0.1, 0.9), first[:, None, None], second[:, None, None])


def gradient(rng: np.random.Generator, side: int) -> Tensor:
    corners = colors(rng, 4).T.reshape(1, 3, 2, 2)
    return F.interpolate(corners, (side, side), mode="bilinear", align_corners=True)[0]


def texture(rng: np.random.Generator, side: int) -> Tensor:
    """(1, side, side) of noise at several scales, as plaster, cloth and leaves have it."""
    out = torch.zeros(1, 1, side, side)
    strength = rng.uniform(0, 0.12) * (rng.random() < 0.7)
    for cells in (6, 24, 96):
        noise = torch.from_numpy(rng.normal(0, strength, (1, 1, cells, cells))).float()
        out = out + F.interpolate(noise, (side, side), mode="bilinear", align_corners=False) / 1.5
    return out[0]
