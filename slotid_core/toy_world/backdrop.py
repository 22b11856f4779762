"""The six places, drawn behind a person."""

import math

import torch
from torch import Tensor

from .canvas import Canvas, box, color, ellipse


def _gradient(canvas: Canvas, top: str, bottom: str, start: float = -1.0, end: float = 1.0) -> Tensor:
    mix = ((canvas.y - start) / (end - start)).clamp(0, 1).unsqueeze(1)
    return torch.lerp(color(top).view(1, 3, 1, 1), color(bottom).view(1, 3, 1, 1), mix)


def meadow(canvas: Canvas) -> None:
    full = torch.ones_like(canvas.x)
    canvas.paint(full, _gradient(canvas, "#8fc7ee", "#dff1f7", -1, 0.3))
    canvas.fill(ellipse(canvas.x - 0.62, canvas.y + 0.66, 0.17, 0.17), color("#ffe28a"))
    for x, y, r in ((-0.7, -0.62, 0.2), (-0.5, -0.68, 0.16), (-0.86, -0.6, 0.13)):
        canvas.fill(ellipse(canvas.x - x, canvas.y - y, r, 0.6 * r), color("#ffffff"), 0.9)
    canvas.fill(0.22 + 0.12 * torch.sin(2.2 * canvas.x + 0.4) - canvas.y, color("#8fc46a"))
    canvas.fill(0.5 + 0.08 * torch.sin(3.1 * canvas.x + 2.0) - canvas.y, color("#6dab4f"))
    for x, y, petal in (
        (-0.85, 0.55, "#ffffff"),
        (-0.62, 0.75, "#ffd24d"),
        (0.7, 0.62, "#ffffff"),
        (0.9, 0.8, "#f48fb1"),
    ):
        canvas.fill(ellipse(canvas.x - x, canvas.y - y, 0.045, 0.045), color(petal))


def beach(canvas: Canvas) -> None:
    canvas.paint(torch.ones_like(canvas.x), _gradient(canvas, "#ffb38a", "#ffe3b8", -1, 0.1))
    canvas.fill(ellipse(canvas.x + 0.55, canvas.y + 0.12, 0.24, 0.24), color("#ff8f66"))
    canvas.fill(0.02 - canvas.y, color("#3f9fbf"))
    for y in (0.12, 0.24, 0.37):
        wave = (canvas.y - y - 0.02 * torch.sin(9 * canvas.x + 20 * y)).abs() - 0.012
        canvas.fill(wave, color("#9fd8e6"), 0.8)
    canvas.fill(0.48 + 0.05 * torch.sin(3 * canvas.x) - canvas.y, color("#f0d79f"))


def night_city(canvas: Canvas) -> None:
    canvas.paint(torch.ones_like(canvas.x), _gradient(canvas, "#131a3a", "#41346b", -1, 0.6))
    canvas.fill(ellipse(canvas.x - 0.66, canvas.y + 0.7, 0.13, 0.13), color("#f4efcf"))
    towers = (
        (-0.88, 0.2, 0.16),
        (-0.55, -0.15, 0.15),
        (-0.2, 0.25, 0.16),
        (0.18, 0.05, 0.16),
        (0.55, -0.3, 0.15),
        (0.88, 0.1, 0.16),
    )
    for x, top, half in towers:
        canvas.fill(box(canvas.x - x, canvas.y - (top + 1) / 2 - 0.1, half, (1.2 - top) / 2), color("#232a52"))
    windows_x, windows_y = (canvas.x * 9).remainder(1) - 0.5, (canvas.y * 7).remainder(1) - 0.5
    lit = (
        torch.sin(torch.floor(canvas.x * 9) * 12.99 + torch.floor(canvas.y * 7) * 78.23).mul(43758.5).remainder(1) > 0.5
    )
    skyline = torch.full_like(canvas.x, 9.0)
    for x, top, half in towers:
        skyline = torch.minimum(
            skyline, box(canvas.x - x, canvas.y - (top + 1) / 2 - 0.14, half - 0.02, (1.2 - top) / 2)
        )
    window = canvas.cover(box(windows_x, windows_y, 0.24, 0.26) / 8) * lit * canvas.cover(skyline)
    canvas.paint(window, color("#ffd76e"))


def library(canvas: Canvas) -> None:
    canvas.paint(torch.ones_like(canvas.x), color("#6b4a33"))
    books = ("#a83c32", "#c98b2f", "#3d6b58", "#2f4e7a", "#7a4069", "#d8c59a")
    shelf_height = 0.5
    row = torch.floor((canvas.y + 1) / shelf_height)
    place = canvas.x * 5 + row * 0.37
    index = (torch.floor(place) * 5 + row * 3).remainder(len(books)).long()
    palette = torch.stack([color(book) for book in books])
    inside_y = (canvas.y + 1).remainder(shelf_height) - shelf_height / 2
    height = 0.17 + 0.04 * torch.sin(torch.floor(place) * 2.3 + row)
    book = box(place.remainder(1) - 0.5, inside_y - 0.22 + height, 0.42, height, 0.02)
    canvas.paint(canvas.cover(book * 0.25), palette[index].permute(0, 3, 1, 2))
    canvas.fill((inside_y - 0.235).abs() - 0.018, color("#4a3222"))


def kitchen(canvas: Canvas) -> None:
    canvas.paint(torch.ones_like(canvas.x), color("#eef3f2"))
    seam_x = ((canvas.x * 3.2).remainder(1) - 0.5).abs()
    seam_y = ((canvas.y * 3.2).remainder(1) - 0.5).abs()
    canvas.fill((0.47 - torch.maximum(seam_x, seam_y)) / 3.2, color("#b9d3d2"))
    canvas.fill(box(canvas.x + 0.68, canvas.y + 0.42, 0.26, 0.34, 0.03), color("#7fb7c9"))
    canvas.fill(box(canvas.x + 0.68, canvas.y + 0.42, 0.21, 0.29), color("#d9f0f7"))
    canvas.fill(box(canvas.x + 0.68, canvas.y + 0.42, 0.015, 0.3), color("#7fb7c9"))
    canvas.fill(box(canvas.x - 0.66, canvas.y + 0.3, 0.3, 0.03), color("#9a6b45"))
    for x, pot in ((0.48, "#d2553f"), (0.66, "#e0a63c"), (0.84, "#4f8f6a")):
        canvas.fill(box(canvas.x - x, canvas.y + 0.42, 0.065, 0.09, 0.03), color(pot))
    canvas.fill(0.55 - canvas.y, color("#c79a6b"))


def studio(canvas: Canvas) -> None:
    canvas.paint(torch.ones_like(canvas.x), color("#4d4f7d"))
    distance = torch.sqrt(canvas.x**2 + (canvas.y + 0.15) ** 2)
    canvas.paint(torch.exp(-((distance / 0.85) ** 2)), color("#a99fd6"))
    for turn in range(3):
        angle = math.pi * (0.25 + 0.25 * turn)
        stripe = (canvas.x * math.cos(angle) + canvas.y * math.sin(angle) - 0.9).abs() - 0.03
        canvas.fill(stripe, color("#c9c2ee"), 0.35)


# In the order of `scene.BACKGROUNDS`.
DRAW = (meadow, beach, night_city, library, kitchen, studio)
