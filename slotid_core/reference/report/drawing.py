"""What the pictures of this folder have in common: colours, a font, and the way to a tensor."""

import numpy as np
import torch

BACKGROUND, INK, FAINT, LINE = (24, 26, 30), (232, 234, 237), (150, 156, 164), (62, 66, 74)
GOOD, FAIR, POOR, ACCENT = (60, 200, 100), (250, 180, 60), (240, 84, 84), (80, 160, 255)


def canvas(width: int, height: int):
    """An empty picture and the pen for it."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (width, height), BACKGROUND)
    return picture, ImageDraw.Draw(picture)


def font(size: int):
    from PIL import ImageFont

    try:
        return ImageFont.load_default(size)
    except (TypeError, OSError):  # Pillow before 10.1, or built without FreeType: one small size only
        return ImageFont.load_default()


def as_image(picture) -> torch.Tensor:
    """PIL -> (1, H, W, 3) float32 in [0, 1]."""
    return torch.from_numpy(np.asarray(picture).copy())[None].float().div_(255)


def from_array(pixels: np.ndarray, height: int):
    """(H, W, 3) uint8 -> PIL of that height."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return picture.resize((max(1, round(picture.width * height / picture.height)), height))
