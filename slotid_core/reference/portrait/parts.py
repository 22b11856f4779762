"""What each pixel of a head-and-shoulders picture shows: the person's alpha, and six parts of the face.

A small U-Net (Ronneberger et al. 2015) of our own that looks at a square around the face. It is trained on drawn heads
and on keyed studio portraits (`reference_training`), and finds its way in photographs and drawings alike. The edge is
then brought to full resolution by a guided filter (He, Sun 2015).
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...tensor_shapes import fill, floats
from ...weights import load_weights, naming
from ..faces.face import Box

KIND, VERSION = "portrait_parts", 1
WEIGHTS = Path(__file__).parent / "weights" / "parts.safetensors"
SIDE = 192  # pixels at which the network looks
NAMES = ("none", "brows", "eyes", "mouth", "nose", "skin", "hair")
NONE, BROWS, EYES, MOUTH, NOSE, SKIN, HAIR = range(7)
WIDEST = 3.2  # side of the square that is looked at, in sides of the face's box; it was trained on 1.2 to 3.4
CLOSE = 1.5  # the same where eyes and mouth are looked at
AT_ONCE = 8  # pictures in one pass


@dataclass(frozen=True)
class PartsConfig:
    """Channels at a half, a quarter, ... of `SIDE`."""

    widths: tuple[int, ...] = (32, 48, 64, 80, 96)


class PartsNetwork(nn.Module):
    """Pictures (B, 3, SIDE, SIDE) in [0, 1] -> logits (B, 8, SIDE, SIDE): alpha, then the seven `NAMES`."""

    def __init__(self, config: PartsConfig = PartsConfig()):
        super().__init__()
        widths = config.widths
        before = (12, *widths)
        self.down = nn.ModuleList(_convolutions(a, b) for a, b in zip(before, widths, strict=False))
        self.up = nn.ModuleList(_convolutions(a + b, a) for a, b in pairwise(widths))
        self.head = nn.Conv2d(widths[0], 8 * 4, 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        x = F.pixel_unshuffle(pictures * 2 - 1, 2)  # (B, 12, 96, 96)
        kept = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else F.avg_pool2d(x, 2))
            kept.append(x)
        for level in reversed(range(len(self.up))):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.up[level](torch.cat([kept[level], x], dim=1))
        return F.pixel_shuffle(self.head(x), 2)


def _convolutions(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.SiLU(),
        nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.SiLU(),
    )  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """alpha (N, H, W) in [0, 1], 1 = person; parts (N, 7, H, W), probabilities of `NAMES` that sum to 1."""

    alpha: Tensor
    parts: Tensor


def find_parts(frames: Tensor, boxes: list[Box], widest: float = WIDEST) -> Parts:
    """Person and parts of the face in each frame.

    Args:
        frames: (N, H, W, 3) in [0, 1].
        boxes: the face in each, in pixels.
        widest: side of the square that is looked at, in sides of the face's box. What lies outside of it counts as
            background.

    Returns:
        alpha and parts at the frames' resolution.
    """
    squares, pictures = _pictures(frames, boxes, widest)
    alpha, parts = look(pictures)
    alphas = []
    for number, (frame, square) in enumerate(zip(frames, squares, strict=True)):
        guide = frame[..., :3].float().mean(dim=-1)
        alphas.append(sharpened(alpha[number], pictures[number].mean(dim=0), guide, square))
    return Parts(torch.stack(alphas), _at_their_places(parts, squares, frames))


def find_face_parts(frames: Tensor, boxes: list[Box], mirrored: bool = False, widest: float = CLOSE) -> Tensor:
    """Parts of the face, by default from close by, (N, 7, H, W); faster than `find_parts`, as nobody is cut out."""
    squares, pictures = _pictures(frames, boxes, widest)
    return _at_their_places(look(pictures, mirrored)[1], squares, frames)


def _pictures(frames: Tensor, boxes: list[Box], widest: float) -> tuple[list[tuple[float, float, float]], Tensor]:
    """Squares (left, top, side) around the faces, and what they show, (N, 3, SIDE, SIDE)."""
    height, width = frames.shape[1:3]
    squares = [square_around(box, height, width, widest) for box in boxes]
    pictures = [cut_square(frame, square) for frame, square in zip(frames, squares, strict=True)]
    return squares, torch.stack(pictures)


def _at_their_places(parts: Tensor, squares: list[tuple[float, float, float]], frames: Tensor) -> Tensor:
    """(N, 7, SIDE, SIDE) -> (N, 7, H, W); outside of the squares is nothing of a face."""
    height, width = frames.shape[1:3]
    shares = [placed(part, square, height, width) for part, square in zip(parts, squares, strict=True)]
    found = torch.stack(shares)
    found[:, NONE] += 1 - found.sum(dim=1)
    return found


@torch.inference_mode()
def look(pictures: Tensor, mirrored: bool = True) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, SIDE, SIDE) -> alpha (N, SIDE, SIDE) and parts (N, 7, SIDE, SIDE).

    Args:
        mirrored: look at the mirror image as well, which takes twice as long and is a little better.
    """
    network = load_parts().to(pictures.device)
    alphas, parts = [], []
    for some in pictures.contiguous(memory_format=torch.channels_last).split(AT_ONCE):
        logits = network(some)
        if mirrored:
            logits = (logits + network(some.flip(-1)).flip(-1)) / 2
        alphas.append(logits[:, 0].sigmoid())
        parts.append(logits[:, 1:].softmax(dim=1))
    return torch.cat(alphas), torch.cat(parts)


@lru_cache(maxsize=1)
def load_parts(path: Path = WEIGHTS) -> PartsNetwork:
    tensors, _ = load_weights(path, KIND, VERSION)
    network = PartsNetwork()
    with naming(path):
        fill(network, floats(tensors), "the network that finds the parts of a face")
    # A seventh less time on CPUs.
    return network.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def square_around(box: Box, height: int, width: int, widest: float) -> tuple[float, float, float]:
    """left, top, side of what is looked at: the whole frame where the face is large in it."""
    face = max(box[2] - box[0], box[3] - box[1])
    side = min(max(height, width), widest * face)
    left, top = (box[0] + box[2] - side) / 2, (box[1] + box[3] - side) / 2
    return _kept_inside(left, side, width), _kept_inside(top, side, height), side


def _kept_inside(start: float, side: float, extent: int) -> float:
    return (extent - side) / 2 if side >= extent else min(max(0.0, start), extent - side)


def cut_square(frame: Tensor, square: tuple[float, float, float]) -> Tensor:
    """(H, W, 3) -> (3, SIDE, SIDE), averaged where it shrinks; beyond the frame its edge is repeated."""
    height, width = frame.shape[:2]
    left, top, side = square
    finer = max(1, math.ceil(side / SIDE))
    steps = (torch.arange(SIDE * finer, device=frame.device) + 0.5) * side / (SIDE * finer)
    x = ((left + steps) * 2 / width - 1).expand(len(steps), -1)
    y = ((top + steps) * 2 / height - 1)[:, None].expand(-1, len(steps))
    picture = frame[..., :3].permute(2, 0, 1)[None].float()
    sampled = F.grid_sample(picture, torch.stack([x, y], dim=-1)[None], padding_mode="border", align_corners=False)
    return F.avg_pool2d(sampled, finer)[0]


def placed(values: Tensor, square: tuple[float, float, float], height: int, width: int) -> Tensor:
    """What was found in a square, (C, SIDE, SIDE), at its place in the frame: (C, height, width), 0 outside."""
    left, top, side = square
    x = ((torch.arange(width, device=values.device) + 0.5 - left) * 2 / side - 1).expand(height, -1)
    y = ((torch.arange(height, device=values.device) + 0.5 - top) * 2 / side - 1)[:, None].expand(-1, width)
    inside = (x.abs() <= 1) & (y.abs() <= 1)
    found = F.grid_sample(values[None], torch.stack([x, y], dim=-1)[None], padding_mode="border", align_corners=False)[
        0
    ]
    return found * inside


def sharpened(alpha: Tensor, small: Tensor, guide: Tensor, square: tuple[float, float, float]) -> Tensor:
    """Alpha (SIDE, SIDE) at the resolution of its frame, with edges where the frame's luminance has them.

    Args:
        small: (SIDE, SIDE), luminance at which alpha was found.
        guide: (H, W), luminance of the frame.
    """
    height, width = guide.shape
    slope, offset = guided_filter(small, alpha)
    coarse, slope, offset = placed(torch.stack([alpha, slope, offset]), square, height, width)
    fine = (slope * guide + offset).clamp(0, 1)
    # Far from any edge the guide has nothing to say, and texture would show through.
    open_question = (4 * coarse * (1 - coarse)).clamp(0, 1)
    return torch.lerp(coarse, fine, open_question.sqrt()).clamp(0, 1)


def guided_filter(guide: Tensor, values: Tensor, radius: int = 2, epsilon: float = 4e-4) -> tuple[Tensor, Tensor]:
    """Slope and offset (H, W) with which `values` follow `guide` around each pixel (He, Sun 2015, equations 3 to 6)."""

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x[None, None], 2 * radius + 1, 1, radius, count_include_pad=False)[0, 0]

    middle, level = mean(guide), mean(values)
    slope = (mean(guide * values) - middle * level) / (mean(guide * guide) - middle**2 + epsilon)
    return mean(slope), mean(level - slope * middle)
