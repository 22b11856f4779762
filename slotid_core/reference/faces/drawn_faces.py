"""Finds drawn people: a tiny convolutional network of our own, trained on rendered frames.

On a grid of cells it says where the middle of a head is, and there how large the head is, where eyes, nose and mouth
lie, and how far each eye is open (a one-class CenterNet, Zhou et al. 2019). It sees no face in a photograph.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...tensor_shapes import fill, floats
from ...weights import load_weights, naming
from .face import Detector, Face, box_of, overlap, sides

KIND, VERSION = "drawn_face_finder", 1
WEIGHTS = Path(__file__).parent / "weights" / "drawn_faces.safetensors"
SIDE = 128  # pixels of the shorter side of a picture at which it is looked at
STRIDE = 8  # pixels of a cell
LEAST_SCORE = 0.5
CERTAIN = 0.88  # score from which on no other detector is asked
SAME_HEAD = 0.3  # overlap from which on two boxes are one head
# Channels of the output: score, offset of the middle (2), log of the side, landmarks (10), eyes open (2).
SCORE, MIDDLE, LOG_SIDE, LANDMARKS, EYES = slice(0, 1), slice(1, 3), slice(3, 4), slice(4, 14), slice(14, 16)
CHANNELS = 16


@dataclass(frozen=True)
class FinderConfig:
    """`widths` of the layers, each of which halves the picture but the last two."""

    widths: tuple[int, ...] = (16, 32, 48, 64, 64)


class DrawnFaceFinder(nn.Module):
    """Pictures (B, 3, H, W) in [0, 1], H and W multiples of 8 -> (B, 16, H / 8, W / 8); see `CHANNELS`."""

    def __init__(self, config: FinderConfig = FinderConfig()):
        super().__init__()
        layers, channels = [], 3
        for index, width in enumerate(config.widths):
            stride = 2 if index < 3 else 1
            dilation = 1 if index < 3 else 2
            layers += [
                nn.Conv2d(channels, width, 3, stride, padding=dilation, dilation=dilation, bias=False),
                nn.BatchNorm2d(width),
                nn.SiLU(),
            ]
            channels = width
        self.layers = nn.Sequential(*layers)
        # A head is larger than what the layers above see, so that the whole picture is summed up as well.
        self.whole = nn.Linear(channels, channels)
        last = nn.Conv2d(channels, CHANNELS, 1)
        assert last.bias is not None
        with torch.no_grad():
            last.bias[SCORE] = -4.0  # most cells are no head
        self.head = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=4, dilation=4), nn.SiLU(), last)

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.layers(pictures * 2 - 1)
        features = features + self.whole(features.mean((2, 3)))[:, :, None, None]
        return self.head(features)


@dataclass(frozen=True)
class Found:
    """Heads of one picture, the surest first.

    Attributes:
        score: (N,) in [0, 1].
        box: (N, 4) left, top, right, bottom in pixels.
        landmarks: (N, 5, 2) x, y in pixels: eyes, nose, mouth corners, from left to right.
        eyes: (N, 2) from 0, closed, to 1.
    """

    score: np.ndarray
    box: np.ndarray
    landmarks: np.ndarray
    eyes: np.ndarray


def decode(output: Tensor, least_score: float = LEAST_SCORE) -> Found:
    """Output of the finder for one picture (16, h, w) -> the heads in it, in pixels of the picture."""
    score = output[SCORE][0].sigmoid()
    peak = F.max_pool2d(score[None], 3, 1, 1)[0] == score
    y, x = ((score >= least_score) & peak).nonzero(as_tuple=True)
    order = score[y, x].argsort(descending=True)
    y, x = y[order], x[order]
    told = output[:, y, x].T  # (N, 16)
    cell = torch.stack([x, y], dim=1) + 0.5
    side = told[:, LOG_SIDE].exp() * STRIDE
    middle = (cell + told[:, MIDDLE]) * STRIDE
    landmarks = middle[:, None] + told[:, LANDMARKS].unflatten(1, (5, 2)) * side[:, None]
    box = torch.cat([middle - side / 2, middle + side / 2], dim=1)
    kept: list[int] = []
    for index in range(len(box)):
        mine = tuple(box[index].tolist())
        if all(overlap(mine, tuple(box[other].tolist())) < SAME_HEAD for other in kept):
            kept.append(index)
    return Found(
        score[y, x][kept].numpy(), box[kept].numpy(), landmarks[kept].numpy(), told[:, EYES].sigmoid()[kept].numpy()
    )


@lru_cache(maxsize=1)
def load_finder(path: Path = WEIGHTS) -> DrawnFaceFinder:
    tensors, _ = load_weights(path, KIND, VERSION)
    finder = DrawnFaceFinder()
    with naming(path):
        fill(finder, floats(tensors), "the network that finds drawn faces")
    return finder.eval().requires_grad_(False)


def find_drawn_faces() -> Detector:
    """The detector of drawn people."""

    def detect(image: np.ndarray, smallest: int) -> list[Face]:
        return [face for face in drawn_faces(image) if max(sides(face.box)) >= smallest]

    return Detector("drawn faces", detect, working_side=SIDE)


@torch.inference_mode()
def drawn_faces(image: np.ndarray, least_score: float = LEAST_SCORE) -> list[Face]:
    """Drawn heads in (H, W, 3) uint8 of any size, the surest first, in its pixels."""
    picture = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
    scale = SIDE / min(image.shape[:2])
    if abs(scale - 1) > 0.05:
        size = (round(image.shape[0] * scale), round(image.shape[1] * scale))
        picture = F.interpolate(picture, size, mode="bilinear", antialias=True)
    height, width = picture.shape[-2:]
    picture = F.pad(picture, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
    found = decode(load_finder()(picture)[0], least_score)
    back = image.shape[0] / height
    return [
        Face(box_of(box), float(score), landmarks.astype(np.float64)).scaled(back)
        for score, box, landmarks in zip(found.score, found.box, found.landmarks, strict=True)
    ]


def drawn_faces_first(other: Detector) -> Detector:
    """`other`, but for pictures in which a drawn head is certain: cascades find few of these, and the wrong places."""

    def detect(image: np.ndarray, smallest: int) -> list[Face]:
        drawn = [face for face in drawn_faces(image, CERTAIN) if max(sides(face.box)) >= smallest]
        return drawn or other.detect(image, smallest)

    return replace(other, name=f"{other.name}, drawn faces", detect=detect)
