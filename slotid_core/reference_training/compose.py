"""Pictures to learn person and parts from: a portrait or a drawn head, bent, lit, and put before some background."""

import io

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..reference.portrait.parts import NONE, SIDE
from ..toy_world.canvas import BROWS
from .backgrounds import background
from .drawn_heads import SIZE, DrawnHeads
from .portraits import Portraits, blink, spectacles
from .wearing import dressed, long_hair, other_clothes

DRAWN = 0.25  # share of drawn heads
BLINKS, SPECTACLES, CLOTHES, LONG_HAIR, DRESSED = 0.35, 0.15, 0.85, 0.2, 0.3  # shares of portraits
HIDING = 0.35  # share of backgrounds that are about as bright and coloured as the person's edge
BARS = 0.15  # share of pictures that reach beyond the frame, where crops are black
NARROWEST, WIDEST = 1.2, 3.4  # side of the square that is looked at, in sides of the face's box


def draw_batch(step: int, count: int, portraits: Portraits, heads: DrawnHeads) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (B, 3, SIDE, SIDE) in [0, 1], alpha (B, SIDE, SIDE) and parts (B, SIDE, SIDE) of a step."""
    rng = np.random.default_rng((step, 89))
    samples = []
    for _ in range(count):
        if rng.random() < DRAWN:
            samples.append(drawn_sample(heads, int(rng.integers(len(heads))), rng))
        else:
            samples.append(portrait_sample(portraits, int(rng.integers(len(portraits))), rng))
    samples = [beyond_the_frame(*sample, rng) if rng.random() < BARS else sample for sample in samples]
    pictures, alphas, parts = zip(*samples, strict=True)
    return torch.stack(pictures), torch.stack(alphas), torch.stack(parts)


def beyond_the_frame(
    picture: Tensor, alpha: Tensor, parts: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Black bars at one side or two, which are nobody."""
    inside = torch.ones_like(alpha, dtype=torch.bool)
    for side in rng.choice(4, int(rng.integers(1, 3)), replace=False):
        width = int(rng.integers(1, SIDE // 5))
        edges = inside[:width], inside[:, :width], inside[-width:], inside[:, -width:]
        edges[side].fill_(False)
    return picture * inside, alpha * inside, torch.where(inside, parts, torch.full_like(parts, NONE))


def portrait_sample(
    portraits: Portraits, index: int, rng: np.random.Generator, behind: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Picture, alpha and parts of one portrait, before a picture (3, SIDE, SIDE) or a background that we make."""
    picture, alpha = portraits.colors[index].float() / 255, portraits.alpha[index].float() / 255
    parts, points = portraits.parts[index], portraits.points[index].double().numpy()
    box = portraits.boxes[index].double().numpy()
    if np.isfinite(points).all():
        if rng.random() < BLINKS:
            picture, parts = blink(picture, parts, points, float(rng.choice([1.0, rng.uniform(0.3, 1)])))
        if rng.random() < SPECTACLES:
            picture = spectacles(picture, points, rng)
    if rng.random() < CLOTHES:
        picture = other_clothes(picture, alpha, float(box[3]), rng)
    if np.isfinite(points).all():
        if rng.random() < LONG_HAIR:
            picture, alpha, parts = long_hair(picture, alpha, parts, points, rng)
        if rng.random() < DRESSED:
            picture, alpha, parts = dressed(picture, alpha, parts, points, rng)
    grid = crop_grid(box, picture.shape[-1], rng)
    picture = lit(resampled(picture, grid), rng)
    alpha, parts = resampled(alpha[None], grid)[0], nearest(parts, grid)
    if behind is None:
        behind = background(rng, SIDE)
        behind = hiding(behind, picture, alpha, rng) if rng.random() < HIDING else behind
    return spoilt(torch.lerp(behind, picture, alpha), rng), alpha, parts


def hiding(behind: Tensor, person: Tensor, alpha: Tensor, rng: np.random.Generator) -> Tensor:
    """The background in the tones of the person's edge: dark hair before dark leaves."""
    wide = F.max_pool2d(1 - alpha[None, None], 15, 1, 7)[0, 0]
    edge = (alpha > 0.5) & (wide > 0.5)
    if not edge.any():
        return behind
    tone, share = person[:, edge].mean(dim=1), float(rng.uniform(0.5, 1))
    contrast = 1 - share * float(rng.uniform(0, 0.7))
    mean = behind.mean(dim=(1, 2))
    moved = torch.lerp(mean, tone, share)[:, None, None] + contrast * (behind - mean[:, None, None])
    return moved.clamp(0, 1)


def drawn_sample(heads: DrawnHeads, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    shares = heads.parts[index].float() / 255  # (8, SIZE, SIZE): background, body, then brows to hair
    picture, alpha = heads.frames[index].float() / 255, 1 - shares[0]
    named = shares[BROWS:].argmax(dim=0) + 1
    parts = torch.where(shares[BROWS:].sum(dim=0) > 0.5, named, torch.full_like(named, NONE)).byte()
    grid = crop_grid(heads.boxes[index].double().numpy(), SIZE, rng)
    picture, alpha, parts = resampled(picture, grid), resampled(alpha[None], grid)[0], nearest(parts, grid)
    if rng.random() < 0.4:  # the scene's own background otherwise
        picture = torch.lerp(background(rng, SIDE), picture, alpha)
    return spoilt(picture, rng), alpha, parts


def crop_grid(box: np.ndarray, extent: int, rng: np.random.Generator) -> Tensor:
    """Where each pixel of the square (SIDE, SIDE, 2) lies in a picture of `extent` pixels, from -1 to 1.

    The square is around the face, turned, sheared, stretched and mirrored; the head turns a little to one side.
    """
    middle, face = (box[:2] + box[2:]) / 2, float(box[2] - box[0]) * rng.uniform(0.8, 1.25)
    side = face * float(np.exp(rng.uniform(np.log(NARROWEST), np.log(WIDEST))))
    middle = middle + rng.uniform(-0.5, 0.5, 2) * max(0.1 * face, side - 1.3 * face) * np.array([1, 0.6])
    axis = torch.linspace(-1, 1, SIDE) * (1 - 1 / SIDE)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    if rng.random() < 0.5:
        x = -x
    x = x + float(rng.uniform(-0.12, 0.12)) * (1 - x * x)
    angle, shear, stretch = rng.normal(0, 0.15), rng.normal(0, 0.08), float(np.exp(rng.normal(0, 0.08)))
    across = (x * np.cos(angle) - y * np.sin(angle)) * stretch + shear * y
    down = (x * np.sin(angle) + y * np.cos(angle)) / stretch
    place = torch.stack([across, down], dim=-1) * (side / 2) + torch.from_numpy(middle).float()
    return (place * 2 / extent - 1).float()


def resampled(picture: Tensor, grid: Tensor) -> Tensor:
    """(C, H, W) at the places of a grid (SIDE, SIDE, 2), without aliasing."""
    extent, step = picture.shape[-1], (grid[1:, :] - grid[:-1, :]).norm(dim=-1).mean().item()
    shrink = step * extent / 2
    if shrink > 1.2:
        small = max(16, round(extent / shrink))
        picture = F.interpolate(picture[None], (small, small), mode="bilinear", antialias=True)[0]
    return F.grid_sample(picture[None], grid[None], padding_mode="border", align_corners=False)[0].clamp(0, 1)


def nearest(parts: Tensor, grid: Tensor) -> Tensor:
    found = F.grid_sample(parts[None, None].float(), grid[None], "nearest", "border", align_corners=False)
    return found[0, 0].round().byte()


def lit(person: Tensor, rng: np.random.Generator) -> Tensor:
    """The person under another light: brighter, darker, tinted, from one side."""
    gain, gamma = rng.uniform(0.45, 1.25), float(np.exp(rng.normal(0, 0.25)))
    tint = torch.from_numpy(np.exp(rng.normal(0, 0.1, (3, 1, 1)))).float()
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.5)
    axis = torch.linspace(-1, 1, SIDE)
    side_light = 1 + strength * (np.cos(angle) * axis[None] + np.sin(angle) * axis[:, None]) * (rng.random() < 0.5)
    return (person.clamp(min=0) ** gamma * gain * tint * side_light).clamp(0, 1)


def spoilt(picture: Tensor, rng: np.random.Generator) -> Tensor:
    """Another exposure, softness, noise and JPEG's blocks."""
    picture = picture * rng.uniform(0.75, 1.2) + torch.from_numpy(rng.normal(0, 0.02, (3, 1, 1))).float()
    if rng.random() < 0.4:
        small = int(rng.integers(SIDE // 3, SIDE))
        picture = F.interpolate(picture[None], (small, small), mode="bilinear", antialias=True)
        picture = F.interpolate(picture, (SIDE, SIDE), mode="bilinear", align_corners=False)[0]
    if rng.random() < 0.4:
        noise = torch.from_numpy(rng.normal(size=(3, SIDE, SIDE)).astype(np.float32))
        picture = picture + float(rng.uniform(0, 0.05)) * noise
    picture = picture.clamp(0, 1)
    return compressed(picture, int(rng.integers(25, 90))) if rng.random() < 0.3 else picture


def compressed(picture: Tensor, quality: int) -> Tensor:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray((picture.permute(1, 2, 0) * 255).round().byte().numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255
