"""Pairs of people in one picture: both references on top, then every row's frames."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..files import whole_file
from ..toy_world.render import render_reference
from .subjects import Subject

SCALE, LABEL, SHOWN = 2, 20, 6


def save_pairs(rows: Mapping[str, Tensor], pairs: Sequence[tuple[Subject, Subject]], path: Path) -> None:
    """rows: name -> clips (pairs, T, 64, 128, 3). A column is a pair, shown by its middle frame."""
    pairs = pairs[:SHOWN]
    references = torch.stack(
        [torch.cat([render_reference(one.person, one.seed, 1)[0].float() for one in pair], dim=1) for pair in pairs]
    )
    frames = {"references": references} | {
        name: clips[: len(pairs), clips.shape[1] // 2] for name, clips in rows.items()
    }
    height, width = references.shape[1:3]
    sheet = Image.new("RGB", (len(pairs) * width * SCALE, len(frames) * (height * SCALE + LABEL)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for place, (name, of_pairs) in enumerate(frames.items()):
        top = place * (height * SCALE + LABEL)
        draw.text((4, top + 2), name, fill="black", font=font)
        row = torch.cat(list(of_pairs), dim=1).clamp(0, 1)  # (64, pairs * 128, 3)
        picture = Image.fromarray((row * 255).round().byte().numpy())
        enlarged = picture.resize((picture.width * SCALE, picture.height * SCALE), Image.Resampling.BICUBIC)
        sheet.paste(enlarged, (0, top + LABEL))
    with whole_file(path) as unfinished:
        sheet.save(unfinished, quality=88)
