"""Pictures that show what the tracker did: face boxes, the other people, and the crop."""

import numpy as np
import torch

from ..decode.clip import shrink
from .tracking import Track

OVERLAY_SIDE = 320
SUBJECT_COLOR, OTHER_COLOR, CROP_COLOR, GUESS_COLOR = (60, 220, 90), (250, 170, 40), (80, 160, 255), (240, 80, 80)


def draw_overlay(frame: torch.Tensor, index: int, box, square, tracks: list[Track], subject: int) -> torch.Tensor:
    """One frame, at most `OVERLAY_SIDE` on its shorter side, with every subject's number where it was detected.

    Args:
        frame: (H, W, 3) in [0, 1].
        box: the subject's face on this frame, None where there is none; red where it is only interpolated.
        square: left, top, side of the crop.
    """
    from PIL import Image, ImageDraw

    small = shrink((frame * 255).round().byte().cpu().numpy(), OVERLAY_SIDE)
    scale = small.shape[0] / frame.shape[0]
    picture = Image.fromarray(small)
    draw = ImageDraw.Draw(picture)

    def outline(corners, color, label="") -> None:
        left, top, right, bottom = (float(value) * scale for value in corners)
        draw.rectangle([left, top, max(left, right - 1), max(top, bottom - 1)], outline=color, width=2)
        if label:
            draw.text((left + 4, top + 2), label, fill=color)

    left, top, side = square
    outline((left, top, left + side, top + side), CROP_COLOR)
    for number, track in enumerate(tracks):
        if number != subject and index in track.faces:
            outline(track.faces[index].box, OTHER_COLOR, str(number))
    if box is not None:
        detected = index in tracks[subject].faces
        outline(box, SUBJECT_COLOR if detected else GUESS_COLOR, str(subject))
    return torch.from_numpy(np.asarray(picture).copy()).float().div_(255)
