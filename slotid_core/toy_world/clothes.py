"""Shoulders, neck, and the six things to wear."""

import torch
from torch import Tensor

from .canvas import Canvas, box, color, column, ellipse, union
from .scene import CLOTHES


def dress(canvas: Canvas, figure, x: Tensor, y: Tensor) -> None:
    """Torso in the scene's clothes, and the neck. `x`, `y` are body coordinates (N, H, W)."""
    shoulders = ellipse(x, y - 1.16, 0.78, 0.62)
    torso = canvas.cover(union(shoulders, box(x, y - 1.5, 0.74, 0.5)))
    neck = box(x, y - 0.42, 0.13 + 0.03 * figure.face_width, 0.24, 0.06)
    for index in figure.scene_clothes.unique().tolist():
        rows = torso * column((figure.scene_clothes == index).float())
        WEAR[index](canvas, x, y, rows)
    canvas.fill(neck, figure.skin_shade)
    canvas.fill(ellipse(x, y - 0.62, 0.19, 0.1), figure.skin_shade)
    collar = column((figure.scene_clothes == CLOTHES.index("green hoodie")).float())
    canvas.paint(canvas.cover(ellipse(x, y - 0.66, 0.27, 0.13).abs() - 0.05) * collar, color("#2c6b45"))


def red_sweater(canvas: Canvas, x, y, torso) -> None:
    canvas.paint(torso, color("#c63d3d"))
    canvas.paint(torso * canvas.cover(((x * 9).remainder(1) - 0.5).abs() / 9 - 0.008) * 0.35, color("#8f2424"))
    canvas.paint(torso * canvas.cover(ellipse(x, y - 0.62, 0.25, 0.16).abs() - 0.03), color("#a52f2f"))


def blue_shirt(canvas: Canvas, x, y, torso) -> None:
    canvas.paint(torso, color("#4f86c6"))
    canvas.paint(torso * canvas.cover(x.abs() - 0.045), color("#3f70aa"))
    for button in (0.76, 0.9):
        canvas.paint(torso * canvas.cover(ellipse(x, y - button, 0.022, 0.022)), color("#f2f5fa"))
    flap = torch.maximum((x.abs() * 0.9 - (y - 0.5) * 0.9).abs() - 0.07, y - 0.78)
    canvas.paint(torso * canvas.cover(flap), color("#7fb0e6"))


def striped_top(canvas: Canvas, x, y, torso) -> None:
    canvas.paint(torso, color("#f4f1e8"))
    curve = y - 0.1 * x * x
    canvas.paint(torso * canvas.cover(((curve * 6.5).remainder(1) - 0.5).abs() / 6.5 - 0.035), color("#27406b"))


def green_hoodie(canvas: Canvas, x, y, torso) -> None:
    canvas.paint(torso, color("#3f8f5f"))
    for side in (-1, 1):
        string = torch.maximum((x - side * 0.1).abs() - 0.014, (y - 0.8).abs() - 0.13)
        canvas.paint(torso * canvas.cover(string), color("#eef5ef"))


def yellow_raincoat(canvas: Canvas, x, y, torso) -> None:
    canvas.paint(torso, color("#f2c230"))
    canvas.paint(torso * canvas.cover((x - 0.03).abs() - 0.012), color("#b98c12"))
    for button in (0.74, 0.9):
        canvas.paint(torso * canvas.cover(ellipse(x - 0.1, y - button, 0.03, 0.03)), color("#7a5c0a"))
    canvas.paint(torso * canvas.cover(ellipse(x, y - 0.6, 0.3, 0.14).abs() - 0.045), color("#ffdb63"))


def black_suit(canvas: Canvas, x, y, torso) -> None:
    canvas.paint(torso, color("#26262e"))
    opening = torch.maximum(x.abs() - 0.26 + 0.5 * (y - 0.55), 0.5 - y)
    canvas.paint(torso * canvas.cover(opening), color("#f5f5f5"))
    tie = torch.maximum(x.abs() - 0.035 - 0.06 * (y - 0.6), 0.62 - y)
    canvas.paint(torso * canvas.cover(tie), color("#a3283a"))


# In the order of `scene.CLOTHES`.
WEAR = (red_sweater, blue_shirt, striped_top, green_hoodie, yellow_raincoat, black_suit)
