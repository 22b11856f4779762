"""One picture of a run: what went in above, what came out below."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLUMNS, CELL, MARGIN, LABEL = 8, 160, 14, 24
INK, PAPER, FAINT = (32, 32, 40), (250, 249, 246), (120, 120, 128)


@dataclass(frozen=True)
class Strip:
    """A labelled row: frames (T, H, W, 3) uint8, sampled evenly to fill it."""

    label: str
    frames: np.ndarray


def contact_sheet(title: str, notes: list[str], strips: list[Strip]) -> Image.Image:
    width = 2 * MARGIN + COLUMNS * CELL
    heights = [_row_height(strip.frames) for strip in strips]
    height = 2 * MARGIN + 34 + LABEL * len(notes) + sum(h + LABEL + MARGIN for h in heights)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    y = MARGIN
    draw.text((MARGIN, y), title, fill=INK, font=ImageFont.load_default(22))
    y += 34
    for note in notes:
        draw.text((MARGIN, y), note, fill=FAINT, font=ImageFont.load_default(14))
        y += LABEL
    for strip, row_height in zip(strips, heights, strict=True):
        draw.text((MARGIN, y), strip.label, fill=INK, font=ImageFont.load_default(14))
        y += LABEL
        for column, frame in enumerate(_evenly(strip.frames)):
            smooth = frame.shape[0] > row_height
            picture = Image.fromarray(frame).resize(
                (CELL - 4, row_height), Image.Resampling.LANCZOS if smooth else Image.Resampling.BICUBIC
            )
            sheet.paste(picture, (MARGIN + column * CELL, y))
        y += row_height + MARGIN
    return sheet


def write_enlarged(frames: np.ndarray, rate: float, path: Path, short_side: int = 512) -> None:
    """The same video, enlarged without smoothing away its pixels, for viewing."""
    from fractions import Fraction

    import av

    height, width = frames.shape[1:3]
    scale = max(1, round(short_side / min(height, width)))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width * scale, height * scale, "yuv420p"
        stream.options = {"crf": "14"}
        for frame in frames:
            picture = Image.fromarray(frame).resize((width * scale, height * scale), Image.Resampling.BICUBIC)
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


def _row_height(frames: np.ndarray) -> int:
    return round((CELL - 4) * frames.shape[1] / frames.shape[2])


def _evenly(frames: np.ndarray) -> np.ndarray:
    count = min(COLUMNS, len(frames))
    return frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]
