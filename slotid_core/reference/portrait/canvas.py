"""A picture on a canvas of another shape, whole: for systems whose reference has the size of the video."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

WHITE = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Placing:
    """Where a picture lies on a canvas.

    Attributes:
        scale: 1 fits it in, whole; less leaves more of the canvas.
        x, y: 0 to 1, the share of the free canvas that lies to the left and above; 0.5 is the middle.
        background: RGB in [0, 1] of the canvas.
    """

    scale: float = 1.0
    x: float = 0.5
    y: float = 0.5
    background: tuple[float, float, float] = WHITE


MIDDLE = Placing()


def fitted_size(picture: tuple[int, int], height: int, width: int, scale: float = 1.0) -> tuple[int, int]:
    """Height and width of a picture (height, width) that fits a canvas whole, at least one pixel."""
    factor = scale * min(height / picture[0], width / picture[1])
    fitted = [max(1, min(limit, round(side * factor))) for side, limit in zip(picture, (height, width), strict=True)]
    return fitted[0], fitted[1]


def on_canvas(
    pictures: Tensor, height: int, width: int, placing: Placing = MIDDLE, alpha: Tensor | None = None
) -> Tensor:
    """Pictures (T, h, w, 3) in [0, 1], resized and placed -> (T, height, width, 3).

    Args:
        alpha: (T, h, w) in [0, 1]; the canvas shows where it is 0.
    """
    size = fitted_size((pictures.shape[1], pictures.shape[2]), height, width, placing.scale)
    if tuple(pictures.shape[1:3]) == (height, width) == size and alpha is None:
        return pictures
    layers = pictures.permute(0, 3, 1, 2)
    cover = torch.ones_like(layers[:, :1]) if alpha is None else alpha.unsqueeze(1)
    layers = torch.cat([layers * cover, cover], dim=1)  # premultiplied, so that edges do not darken
    layers = F.interpolate(layers, size=size, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)
    top, left = round(placing.y * (height - size[0])), round(placing.x * (width - size[1]))
    canvas = torch.tensor(placing.background, dtype=pictures.dtype).view(1, 3, 1, 1)
    canvas = canvas.expand(len(pictures), -1, height, width).clone()
    place = (slice(None), slice(None), slice(top, top + size[0]), slice(left, left + size[1]))
    canvas[place] = canvas[place] * (1 - layers[:, 3:]) + layers[:, :3]
    return canvas.permute(0, 2, 3, 1)
