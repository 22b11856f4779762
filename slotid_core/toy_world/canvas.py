"""Anti-aliased drawing of many frames at once, with signed distances: negative inside, in canvas units."""

from typing import overload

import torch
from torch import Tensor

# Edges a little softer than one pixel: they look the same when enlarged, and cost a small VAE far less.
EDGE_PIXELS = 1.5
# What a pixel shows, where a canvas keeps count.
BACKGROUND, BODY, BROWS, EYES, MOUTH, NOSE, SKIN, HAIR = range(8)
PARTS = 8


class Canvas:
    """N pictures of side `size`; coordinates run from -1 to 1, right and down.

    Every shape parameter is a number or a tensor (N,), so that one call draws the shape in all pictures.

    Attributes:
        parts: (N, PARTS, size, size), how much of each pixel shows which part; None where nobody asked.
        part: which part is being drawn; None for what leaves the parts as they are, such as glasses.
    """

    def __init__(self, count: int, size: int, with_parts: bool = False):
        axis = (torch.arange(size) + 0.5) * 2 / size - 1
        self.y, self.x = (grid.expand(count, -1, -1) for grid in torch.meshgrid(axis, axis, indexing="ij"))
        self.pixels = torch.zeros(count, 3, size, size)
        self.softness = EDGE_PIXELS * 2 / size
        self.parts = torch.zeros(count, PARTS, size, size) if with_parts else None
        self.part: int | None = BACKGROUND

    def cover(self, distance: Tensor, softness: float | None = None) -> Tensor:
        """Signed distance (N, H, W) -> coverage in [0, 1], with a soft edge."""
        return (0.5 - distance / (softness or self.softness)).clamp(0, 1)

    def paint(self, coverage: Tensor, color: Tensor) -> None:
        """Lay color (3,) or (N, 3), or a picture (N, 3, H, W), over what is there."""
        if color.dim() < 4:
            color = color.reshape(-1, 3, 1, 1)
        self.pixels.lerp_(color.expand_as(self.pixels), coverage.unsqueeze(1))
        if self.parts is not None and self.part is not None:
            self.parts.mul_(1 - coverage.unsqueeze(1))
            self.parts[:, self.part] += coverage

    def fill(self, distance: Tensor, color: Tensor, opacity: Tensor | float = 1.0) -> None:
        if torch.is_tensor(opacity) and not opacity.any():  # most people have no beard, no glasses, no marks
            return
        self.paint(self.cover(distance) * column(opacity), color)


@overload
def column(value: Tensor) -> Tensor: ...
@overload
def column(value: float) -> float: ...
def column(value: Tensor | float) -> Tensor | float:
    """(N,) -> (N, 1, 1), so that it broadcasts over pictures; anything else as it is."""
    return value.reshape(-1, 1, 1) if torch.is_tensor(value) and value.dim() == 1 else value


def color(text: str) -> Tensor:
    """ "#rrggbb" -> (3,) in [0, 1]."""
    return torch.tensor([int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def length(x: Tensor, y: Tensor) -> Tensor:
    # Products, since torch's power of 2 takes many times as long on a CPU.
    return torch.sqrt(x * x + y * y + 1e-12)


def ellipse(x: Tensor, y: Tensor, radius_x, radius_y) -> Tensor:
    """Distance to an ellipse about the origin, exact on the edge and close to it near the edge."""
    radius_x, radius_y = column(radius_x), column(radius_y)
    scaled = length(x / radius_x, y / radius_y)
    gradient = length(x / radius_x**2, y / radius_y**2)
    return scaled * (scaled - 1) / gradient


def box(x: Tensor, y: Tensor, half_width, half_height, radius=0.0) -> Tensor:
    """Distance to a rectangle about the origin with rounded corners."""
    radius = column(radius)
    dx = x.abs() - column(half_width) + radius
    dy = y.abs() - column(half_height) + radius
    outside = length(dx.clamp(min=0), dy.clamp(min=0))
    return outside + torch.maximum(dx, dy).clamp(max=0) - radius


def segment(x: Tensor, y: Tensor, x0, y0, x1, y1, thickness) -> Tensor:
    """Distance to a line with round ends; `thickness` is its half width."""
    x0, y0, x1, y1 = column(x0), column(y0), column(x1), column(y1)
    dx, dy = x1 - x0, y1 - y0
    along = ((x - x0) * dx + (y - y0) * dy) / (dx**2 + dy**2 + 1e-9)
    along = along.clamp(0, 1)
    return length(x - x0 - along * dx, y - y0 - along * dy) - column(thickness)


def arc(x: Tensor, y: Tensor, half_width, left_rise, right_rise, thickness) -> Tensor:
    """Distance to a curved stroke from (-w, -left_rise) through (0, 0) to (w, -right_rise); a mouth or a brow."""
    half_width = column(half_width)
    u = (x / half_width).clamp(-1, 1)
    rise = torch.where(u < 0, column(left_rise), column(right_rise))
    curve = -rise * u * u
    overshoot = (x.abs() - half_width).clamp(min=0)
    slope = 2 * rise * u / half_width
    vertical = (y - curve) / torch.sqrt(1 + slope * slope)
    return length(vertical, overshoot) - column(thickness)


def union(*distances: Tensor) -> Tensor:
    out = distances[0]
    for distance in distances[1:]:
        out = torch.minimum(out, distance)
    return out
