"""Rows of clips in one picture, for eyes: the reference on top, then every row's clip of the same person and scene."""

from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..files import whole_file
from ..toy_world.render import render_reference
from .subjects import Subject

SCALE, LABEL, FRAMES = 2, 22, 3


def save_rows(rows: dict[str, Tensor], subjects: list[Subject], path: Path) -> None:
    """rows: name -> clips (people, T, H, W, 3). Columns are people, `FRAMES` frames of each."""
    count = len(next(iter(rows.values())))
    references = [render_reference(subject.person, subject.seed, 33) for subject in subjects[:count]]
    strips = {"reference": references, **rows}
    width = count * FRAMES * 64 * SCALE
    sheet = Image.new("RGB", (width, len(strips) * (64 * SCALE + LABEL)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    y = 0
    for name, clips in strips.items():
        draw.text((4, y + 2), name, fill="black", font=font)
        frames = torch.cat([frame for clip in clips for frame in _evenly(clip)], dim=1)  # (64, W, 3)
        picture = Image.fromarray((frames * 255).round().byte().numpy())
        enlarged = picture.resize((picture.width * SCALE, picture.height * SCALE), Image.Resampling.BICUBIC)
        sheet.paste(enlarged, (0, y + LABEL))
        y += 64 * SCALE + LABEL
    with whole_file(path) as unfinished:
        sheet.save(unfinished, quality=88)


def _evenly(clip: Tensor) -> Tensor:
    return clip[torch.linspace(0, len(clip) - 1, FRAMES).round().long()]
