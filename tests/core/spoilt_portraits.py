"""Portraits made on purpose, good and spoilt in a known way, of real people before backgrounds and of drawn ones."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from slotid_core.reference.faces.face import Box, box_of
from slotid_core.reference_training.backgrounds import background
from slotid_core.reference_training.compose import compressed
from slotid_core.reference_training.portraits import Portraits, blink
from slotid_core.reference_training.wearing import other_clothes
from slotid_core.toy_world.canvas import BACKGROUND
from slotid_core.toy_world.motion import Motion
from slotid_core.toy_world.person import sample_person
from slotid_core.toy_world.render import draw_parts, head_boxes
from slotid_core.toy_world.scene import sample_scene

SIDE = 256  # pixels, as Track Face cuts them by default
KINDS = ("hair cut off", "background kept", "blink", "profile", "blur", "dark")
NEED_POINTS = ("blink",)


@dataclass(frozen=True)
class Sample:
    """frame (SIDE, SIDE, 3) before the cut, mask (SIDE, SIDE) that was kept, the face; kind "good" or of `KINDS`."""

    frame: Tensor
    mask: Tensor
    box: Box
    kind: str


def real_samples(portraits: Portraits, kinds: dict[int, str], seed: int) -> Iterator[Sample]:
    """One sample of each portrait that is named, by its index."""
    for index, kind in kinds.items():
        yield real_sample(portraits, index, kind, np.random.default_rng((seed, index)))


def real_sample(portraits: Portraits, index: int, kind: str, rng: np.random.Generator) -> Sample:
    colors, alpha = portraits.colors[index].float() / 255, portraits.alpha[index].float() / 255
    box = portraits.boxes[index].double().numpy()
    if kind == "blink":
        points = portraits.points[index].double().numpy()
        colors, _ = blink(colors, portraits.parts[index], points, rng.uniform(0.9, 1.0))
    if rng.random() < 0.7:
        colors = other_clothes(colors, alpha, float(box[3]), rng)
    if kind == "profile":
        side = float(rng.choice([-1, 1]))
        colors, alpha = turned(colors, alpha, box, side * rng.uniform(40, 60))
        box = box + side * 0.25 * (box[2] - box[0]) * np.array([1, 0, 1, 0])  # a detector's box follows the face
    place, box = _crop(box, rng)
    extent = colors.shape[-1]
    grid = (place * 2 / extent - 1)[None].float()
    person = F.grid_sample(colors[None], grid, padding_mode="border", align_corners=False)[0]
    alpha = F.grid_sample(alpha[None, None], grid, padding_mode="border", align_corners=False)[0, 0].clamp(0, 1)
    tint = torch.from_numpy(np.exp(rng.normal(0, 0.03, (3, 1, 1)))).float()
    person = (person * float(rng.uniform(0.85, 1.1)) * tint).clamp(0, 1)
    frame = torch.lerp(background(rng, SIDE), person, alpha)
    return spoilt(compressed(frame.clamp(0, 1), int(rng.integers(85, 96))), alpha, box, kind, rng)


def drawn_samples(kinds: list[str], first_person: int, seed: int) -> Iterator[Sample]:
    """Drawn people of the numbers from `first_person` on, each in a scene of its own."""
    for index, kind in enumerate(kinds):
        rng = np.random.default_rng((seed, index))
        person, scene = sample_person(first_person + index), sample_scene(int(rng.integers(10**6)))
        side = float(rng.choice([-1, 1]))
        yaw = side * rng.uniform(0.85, 1.15) if kind == "profile" else rng.uniform(-0.12, 0.12)
        pose = (yaw, rng.uniform(-0.05, 0.05), rng.uniform(-0.08, 0.08), 0.1, 0.1, rng.uniform(0, 0.2), 0.0)
        motion = Motion(*(np.array([value]) for value in (*pose, 0.0 if kind == "blink" else 1.0, 0.0)))
        frames, parts = draw_parts([person], [scene], [motion], SIDE)
        box = box_of(head_boxes(scene, motion, SIDE)[0])
        alpha = 1 - parts[0, 0, ..., BACKGROUND]
        yield spoilt(frames[0, 0].permute(2, 0, 1), alpha, box, kind, rng)


def spoilt(frame: Tensor, alpha: Tensor, box: Box, kind: str, rng: np.random.Generator) -> Sample:
    """What is done to frame (3, SIDE, SIDE) or mask; the other kinds were done to the person."""
    mask = alpha
    if kind == "hair cut off":
        mask = without_hair(alpha, box, rng)
    elif kind == "background kept":
        mask = with_background(alpha, box, rng)
    elif kind == "blur":
        frame = blurred(frame, float(rng.uniform(0.022, 0.045)) * (box[2] - box[0]))
    elif kind == "dark":
        frame = frame * float(rng.uniform(0.12, 0.3))
    return Sample(frame.permute(1, 2, 0).clamp(0, 1), mask, box, kind)


def without_hair(alpha: Tensor, box: Box, rng: np.random.Generator) -> Tensor:
    """A straight piece of the upper head is missing, a tenth of the face's area or more."""
    side = box[2] - box[0]
    middle = np.array([(box[0] + box[2]) / 2, box[1] + 0.25 * side])
    rows, columns = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    angle = np.radians(rng.choice([0.0, 0.0, 90.0, -90.0]) + rng.uniform(-25, 25))  # from straight above
    towards = (columns - middle[0]) * np.sin(angle) - (rows - middle[1]) * np.cos(angle)
    head = (rows < box[3]) * alpha
    wanted = rng.uniform(0.1, 0.3) * side**2
    for reach in np.linspace(1.4, 0.0, 60) * side:
        if float((head * (towards > reach)).sum()) >= wanted:
            break
    return alpha * 1 - head * (towards > reach)


def with_background(alpha: Tensor, box: Box, rng: np.random.Generator) -> Tensor:
    """A thing behind the person, or a rim around the head, that the cut has kept."""
    side, kind = box[2] - box[0], rng.integers(3)
    rows, columns = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    if kind == 0:  # a rim
        width = 2 * round(rng.uniform(0.09, 0.16) * side) + 1
        rim = F.max_pool2d(alpha[None, None], width, 1, width // 2)[0, 0]
        return torch.where(rows < box[3], rim.maximum(alpha), alpha)
    angle, left = rng.uniform(-0.2, 0.9), rng.random() < 0.5
    direction = np.array([-np.cos(angle) if left else np.cos(angle), -np.sin(angle)])
    middle = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]) + direction * side * rng.uniform(0.6, 0.8)
    across, down = (columns - middle[0]) / side, (rows - middle[1]) / side
    wide, tall = rng.uniform(0.2, 0.35), rng.uniform(0.25, 0.6)
    if kind == 1:
        thing = (across / wide).square() + (down / tall).square() < 1
    else:
        thing = (across.abs() < wide) & (down.abs() < tall)
    return alpha.maximum(thing.float())


def blurred(frame: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (3, H, W)."""
    reach = int(3 * sigma) + 1
    weights = torch.exp(-(torch.arange(-reach, reach + 1).float() ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum()).expand(3, 1, 1, -1)
    padded = F.pad(frame[None], (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(padded, weights, groups=3), weights.transpose(2, 3), groups=3)[0]


def turned(colors: Tensor, alpha: Tensor, box: np.ndarray, degrees: float) -> tuple[Tensor, Tensor]:
    """The head turned about its axis: an upright cylinder with a nose. What was not seen stays empty."""
    height, width = alpha.shape
    side, middle = box[2] - box[0], (box[0] + box[2]) / 2
    radius, fine = 0.62 * side, 2
    rows, columns = np.mgrid[: height * fine, : width * fine] / fine
    across = (columns - middle) / radius
    depth = np.sqrt((1 - across**2).clip(0, None))
    tip = box[1] + 0.66 * side
    ridge = np.clip((rows - box[1] - 0.35 * side) / (tip - box[1] - 0.35 * side), 0, 1) * (rows < tip + 0.05 * side)
    depth = depth + 0.28 * ridge * np.exp(-((across / 0.16) ** 2))
    share = np.clip((box[3] + 0.25 * side - rows) / (0.35 * side), 0, 1)  # the shoulders stay
    yaw = np.radians(degrees) * share
    moved = np.where(np.abs(across) < 1, across * np.cos(yaw) + depth * np.sin(yaw), across + np.sin(yaw) * 0)
    near = np.where(np.abs(across) < 1, depth * np.cos(yaw) - across * np.sin(yaw), -1.0)
    picture = torch.cat([colors, alpha[None]])
    source = F.interpolate(picture[None], scale_factor=fine, mode="bilinear", align_corners=False)[0].numpy()
    target = np.full((4, height, width), np.nan)
    order = np.argsort(near, axis=None)
    y = rows.ravel()[order].astype(int)
    x = np.round(moved.ravel()[order] * radius + middle).astype(int)
    hidden = (np.abs(across) < 1).ravel()[order] & (near.ravel()[order] < 0)  # on the far side now
    inside = (x >= 0) & (x < width) & ~hidden
    target[:, y[inside], x[inside]] = source.reshape(4, -1)[:, order][:, inside]
    empty = np.isnan(target[3])
    for row in range(height):
        known = np.flatnonzero(~empty[row])
        if len(known):
            for channel in range(4):
                target[channel, row] = np.interp(np.arange(width), known, target[channel, row, known])
    found = torch.from_numpy(target).float()
    return found[:3].clamp(0, 1), found[3].clamp(0, 1)


def _crop(box: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Box]:
    """Where each pixel of the sample lies in the portrait (SIDE, SIDE, 2), and the face's box in the sample."""
    face = box[2] - box[0]
    side = face * rng.uniform(1.9, 2.3)
    middle = (box[:2] + box[2:]) / 2 + rng.uniform(-0.08, 0.08, 2) * face + np.array([0, -0.12]) * face
    corner = middle - side / 2
    steps = (np.arange(SIDE) + 0.5) * side / SIDE
    place = np.stack(np.meshgrid(corner[0] + steps, corner[1] + steps), axis=-1)
    return torch.from_numpy(place), box_of((box - np.tile(corner, 2)) * SIDE / side)
