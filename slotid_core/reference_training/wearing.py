"""What people wear, drawn onto keyed portraits: everybody in the set has the same white shirt, and little hair."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..reference.portrait.parts import HAIR, NONE
from .backgrounds import background, colors
from .portrait_parts import FACE
from .portraits import UNKNOWN


def other_clothes(picture: Tensor, alpha: Tensor, chin: float, rng: np.random.Generator) -> Tensor:
    """The white shirt in another colour or pattern; sometimes a jacket over it. (3, H, W) in [0, 1]."""
    height, width = alpha.shape
    rows = torch.arange(height)[:, None]
    light, grey = picture.mean(0), (picture.max(0).values - picture.min(0).values) < 0.09
    shirt = ((light > 0.55) & grey & (rows > chin) & (alpha > 0.5)).float()
    shirt = 1 - F.max_pool2d(1 - shirt[None, None], 3, 1, 1)  # without single pixels of highlights on skin
    shirt = F.avg_pool2d(F.max_pool2d(shirt, 9, 1, 4), 3, 1, 1)[0, 0]
    cloth = background(rng, height)[:, :, :width] if rng.random() < 0.4 else colors(rng, 1)[0][:, None, None]
    dyed = cloth * (light / light[shirt > 0.5].median().clamp(min=0.3) if (shirt > 0.5).any() else 1.0)
    picture = torch.lerp(picture, dyed.clamp(0, 1).expand_as(picture), shirt)
    if rng.random() < 0.4:
        x = (torch.arange(width)[None] - width / 2).abs()
        opening = float(rng.uniform(0.02, 0.2)) * width
        jacket = (x > opening * (1 + 1.5 * (height - rows) / (height - chin) - 1)) & (rows > chin + 0.12 * height)
        soft = F.avg_pool2d((jacket & (shirt > 0.3)).float()[None, None], 5, 1, 2)[0, 0]
        coat = colors(rng, 1)[0][:, None, None] * rng.uniform(0.1, 0.8) * light / 0.85
        picture = torch.lerp(picture, coat.clamp(0, 1), soft)
    return picture


def dressed(
    picture: Tensor, alpha: Tensor, parts: Tensor, points: np.ndarray, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """A hood, hat, scarf or coat, with a smooth edge or one of fur; it belongs to the person.

    Args:
        picture: (3, H, W) in [0, 1]; alpha: (H, W); parts: (H, W).
        points: (189, 2).
    """
    height, width = alpha.shape
    across, down = face_axes(points, height, width)
    fringe = 1 + ruffle(torch.atan2(down, across), rng)
    kind = rng.random()
    hood = (across / rng.uniform(1.25, 2.0)).square() + ((down + 0.2) / rng.uniform(1.3, 2.0)).square() < fringe
    coat = (down > rng.uniform(0.95, 1.3) * fringe) & (
        across.abs() < (rng.uniform(1.0, 2.4) * (down - 0.2).clamp(min=0.5)) * fringe
    )
    hat = hood & (down < (-rng.uniform(0.55, 0.95) + 0.1 * across.square()) * fringe)
    if kind < 0.35:
        opening = (across / rng.uniform(0.9, 1.15)).square() + (down / rng.uniform(0.9, 1.2)).square()
        worn = hood & (opening > fringe)
        worn = worn | coat if rng.random() < 0.5 else worn
    elif kind < 0.6:
        worn = hat | coat if rng.random() < 0.5 else hat
    else:
        worn = coat
    soft = F.avg_pool2d(worn.float()[None, None], 5, 1, 2)[0, 0]
    tone = background(rng, height)[:, :, :width] if rng.random() < 0.4 else colors(rng, 1)[0][:, None, None]
    picture = torch.lerp(picture, (tone + grain(rng, height, width)).clamp(0, 1).expand_as(picture), soft)
    parts = torch.where((soft > 0.5) & (parts != UNKNOWN), torch.full_like(parts, NONE), parts)
    return picture, alpha.maximum(soft), parts


def long_hair(
    picture: Tensor, alpha: Tensor, parts: Tensor, points: np.ndarray, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Strands of the person's own hair beside the face, down to the shoulders or lower, before or behind the clothes.

    Args: as `dressed` has them.
    """
    height, width = alpha.shape
    hair = parts == HAIR
    if int(hair.sum()) < 200:
        return picture, alpha, parts
    across, down = face_axes(points, height, width)
    waves = torch.from_numpy(np.cumsum(rng.normal(0, 0.02, height)) + 0.1 * np.sin(np.arange(height) / 30)).float()
    place = across.abs() + waves[:, None] * (across.sign() if rng.random() < 0.5 else 1)
    place = place + 0.04 * torch.from_numpy(rng.normal(size=width)).float()
    inner, outer, end = rng.uniform(0.8, 1.0), rng.uniform(1.1, 1.7), rng.uniform(0.9, 3.0)
    strands = (place > inner) & (place < outer) & (down > -0.7) & (down < end)
    strands = strands & ~torch.isin(parts, torch.arange(1, HAIR)) | (strands & (parts == UNKNOWN))
    soft = F.avg_pool2d(strands.float()[None, None], 3, 1, 1)[0, 0]
    tone = picture[:, hair].mean(dim=1)[:, None, None]
    streaks = torch.from_numpy(rng.normal(0, 0.25, (1, width))).float()
    drawn = (tone * (1 + streaks) + grain(rng, height, width) * tone).clamp(0, 1)
    picture = torch.lerp(picture, drawn.expand_as(picture), soft)
    parts = torch.where((soft > 0.5) & (parts != UNKNOWN), torch.full_like(parts, HAIR), parts)
    return picture, alpha.maximum(soft), parts


def face_axes(points: np.ndarray, height: int, width: int) -> tuple[Tensor, Tensor]:
    """x and y (H, W) from the middle of the face, in halves of its width and height."""
    face = points[list(FACE)]
    middle, half = (face.min(axis=0) + face.max(axis=0)) / 2, (face.max(axis=0) - face.min(axis=0)) / 2
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return ((x - middle[0]) / half[0]).float(), ((y - middle[1]) / half[1]).float()


def ruffle(angle: Tensor, rng: np.random.Generator) -> Tensor:
    """How far an edge around the face goes out and in: not at all, in waves, or as fur does."""
    kind = rng.random()
    if kind < 0.3:
        return torch.zeros_like(angle)
    if kind < 0.6:
        return float(rng.uniform(0, 0.06)) * torch.sin(angle * float(rng.integers(5, 60)) + 6 * float(rng.random()))
    hairs = int(rng.integers(60, 400))
    lengths = torch.from_numpy(rng.normal(0, rng.uniform(0.02, 0.08), hairs)).float()
    return lengths[((angle / (2 * torch.pi)) * hairs).long().remainder(hairs)]


def grain(rng: np.random.Generator, height: int, width: int) -> Tensor:
    """(1, H, W) of noise, from the weave of cloth to locks of fur."""
    cell = int(rng.integers(2, 12))
    noise = rng.normal(0, rng.uniform(0, 0.15), (1, 1, height // cell, width // cell)).astype(np.float32)
    return F.interpolate(torch.from_numpy(noise), (height, width), mode="bilinear", align_corners=False)[0]
