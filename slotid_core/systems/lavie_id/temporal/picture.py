"""One picture of what a temporal module did: frames before and after, and the bias that it added."""

import numpy as np
import torch
from torch import Tensor

from ....errors import SlotIDError
from ....reference.report.drawing import FAINT, INK, as_image, canvas, font, from_array
from ....wan.vae import normalize_latents
from .chunks import check_latents

COLUMNS, HEIGHT, EDGE, TEXT = 8, 120, 12, 22
LEAST_BIAS = 1e-6  # of a standard deviation: below, there is nothing to draw


def bias_picture(before: Tensor, after: Tensor, colours: Tensor, offset: Tensor) -> Tensor:
    """Of the first video of two batches of latents (B, 16, T, h, w), not normalised: (1, H, W, 3) in [0, 1].

    A column a latent frame, at most eight of them spread evenly. The rows are before, after, and the length of the
    difference in the latents' own standard deviations, from black to the colour of the largest; a curve of its mean in
    every frame lies below.

    Args:
        colours: (16, 3), and offset (3,), from normalised latents to a rough picture in [-1, 1].

    Raises:
        SlotIDError: the two are not of one shape, no latents of a Wan 2.1 video, or hold NaN.
    """
    check_latents(before)
    check_latents(after)
    if before.shape != after.shape:
        raise SlotIDError(
            f"before has shape {tuple(before.shape)} and after {tuple(after.shape)}; both must be of one video. "
            "Connect the input and the output of Refine Latents."
        )
    one, two = (normalize_latents(latents[:1].cpu().float())[0] for latents in (before, after))
    bias = (two - one).square().mean(0).sqrt()  # (T, h, w)
    frames = np.unique(np.linspace(0, len(bias) - 1, COLUMNS).round().astype(int))
    rows = [_rough(one, colours, offset), _rough(two, colours, offset), _heat(bias)]
    width = max(1, round(HEIGHT * bias.shape[2] / bias.shape[1]))
    across, down = EDGE + (width + EDGE) * len(frames), len(rows) * (HEIGHT + TEXT) + TEXT + HEIGHT // 2 + 2 * EDGE
    picture, pen = canvas(max(across, 480), down)
    labels = ("before", "after", f"change, brightest {bias.max():.3f} of a standard deviation, mean {bias.mean():.3f}")
    top = EDGE
    for label, row in zip(labels, rows, strict=True):
        pen.text((EDGE, top), label, fill=INK, font=font(13))
        top += TEXT
        for column, frame in enumerate(frames):
            picture.paste(from_array(row[frame], HEIGHT), (EDGE + column * (width + EDGE), top))
        top += HEIGHT
    pen.text((EDGE, top + 4), f"mean change in latent frames 0 to {len(bias) - 1}", fill=FAINT, font=font(12))
    _curve(pen, bias.mean((1, 2)), (EDGE, top + TEXT), (picture.width - 2 * EDGE, HEIGHT // 2))
    return as_image(picture)


def _rough(latents: Tensor, colours: Tensor, offset: Tensor) -> np.ndarray:
    """(16, T, h, w) -> (T, h, w, 3) bytes."""
    pixels = torch.einsum("cthw,ck->thwk", latents, colours.float()) + offset.float()
    return ((pixels * 0.5 + 0.5).clamp(0, 1) * 255).round().byte().numpy()


def _heat(bias: Tensor) -> np.ndarray:
    """(T, h, w) -> (T, h, w, 3) bytes: black, red, yellow, white with the share of the largest."""
    share = bias / bias.max().clamp_min(LEAST_BIAS)
    heat = torch.stack([(3 * share - start).clamp(0, 1) for start in range(3)], dim=-1)
    return (heat * 255).round().byte().numpy()


def _curve(pen, values: Tensor, corner: tuple[int, int], size: tuple[int, int]) -> None:
    (left, top), (width, height) = corner, size
    share = (values / values.max().clamp_min(LEAST_BIAS)).tolist()
    step = width / max(1, len(share) - 1)
    points = [(left + step * frame, top + height * (1 - value)) for frame, value in enumerate(share)]
    pen.line([(left, top + height), (left + width, top + height)], fill=FAINT)
    pen.line(points, fill=INK, width=2)
