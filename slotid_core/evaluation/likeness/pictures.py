"""What a person sees of a score inside a node: the curve over time, and the worst frames with the face marked."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .colours import COLOURS
from .frames import Frames
from .track import Track

WIDTH, HEIGHT = 960, 300
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 40, 40
THUMB = 240  # pixels of the side of a worst frame
LEAST = -0.2  # the lowest cosine on the axis


def curve_picture(tracks: dict[str, Track], threshold: float, title: str) -> Tensor:
    """Cosines over frames as a picture (1, 300, 960, 3) in [0, 1], a line for each name; a gap has no face.

    Args:
        threshold: drawn as a dashed line; NaN for none.
    """
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    draw.text((LEFT, 10), title, fill="#222222", font=font)
    last = max((int(track.indices[-1]) for track in tracks.values()), default=1) or 1

    def place(index: float, value: float) -> tuple[float, float]:
        across = (WIDTH - LEFT - RIGHT) * index / last
        up = (min(1.0, max(LEAST, value)) - LEAST) / (1 - LEAST)
        return LEFT + across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * up

    for level in (0.0, 0.25, 0.5, 0.75, 1.0):
        draw.line([place(0, level), place(last, level)], fill="#e2e2e2")
        draw.text((14, place(0, level)[1] - 9), f"{level:g}", fill="#555555", font=font)
    for index in sorted({round(last * part / 4) for part in range(5)}):
        draw.text((place(index, 0)[0] - 8, HEIGHT - BOTTOM + 12), str(index), fill="#555555", font=font)
    if np.isfinite(threshold):
        for start in range(0, 40, 2):
            draw.line([place(last * start / 40, threshold), place(last * (start + 1) / 40, threshold)], fill="#aa3333")
    for number, (name, track) in enumerate(tracks.items()):
        colour = COLOURS[number % len(COLOURS)]
        before = None
        for index, value in zip(track.indices, track.cosine, strict=True):
            now = None if np.isnan(value) else place(index, value)
            if now and before:
                draw.line([before, now], fill=colour, width=3)
            if now:
                draw.ellipse([now[0] - 2, now[1] - 2, now[0] + 2, now[1] + 2], fill=colour)
            before = now
        draw.text((WIDTH - 300 + 150 * (number % 2), 10 + 16 * (number // 2)), name, fill=colour, font=font)
    return _tensor(image)


def worst_pictures(frames: Frames, track: Track, count: int) -> Tensor:
    """The least similar frames, worst first, the face marked and the cosine written: (count, 240, 240, 3) in [0, 1].

    Frames without a face come last, as nothing says that they show anybody else.
    """
    order = np.argsort(np.where(track.found, track.cosine, np.inf), kind="stable")[:count]
    pictures = []
    for place in order:
        index = int(track.indices[place])
        image = Image.fromarray(frames.pixels[index])
        box, value = track.boxes[place], track.cosine[place]
        if box is not None:
            ImageDraw.Draw(image).rectangle(box, outline="#e03030", width=max(2, image.width // 150))
        image.thumbnail((THUMB, THUMB))
        square = Image.new("RGB", (THUMB, THUMB), "white")
        square.paste(image, ((THUMB - image.width) // 2, (THUMB - image.height) // 2))
        text = f"frame {index}: " + ("no face" if np.isnan(value) else f"{value:.2f}")
        draw = ImageDraw.Draw(square)
        draw.rectangle([0, THUMB - 22, THUMB, THUMB], fill="white")
        draw.text((6, THUMB - 20), text, fill="#222222", font=ImageFont.load_default(15))
        pictures.append(_tensor(square))
    return torch.cat(pictures)


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image).astype(np.float32) / 255)[None]
