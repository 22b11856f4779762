"""How much of each place of the video's latents shows the face of the person: weights of an objective that looks there
more closely."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..reference.faces.face import Box
from ..reference.portrait.parts import NONE, WIDEST, find_face_parts
from .component_shares import face_boxes, latent_frames
from .pixels import Pixels

PLACE = 8  # pixels that a latent covers, along a side
BOXES, MASKS = "boxes", "masks"


def face_shares(pixels: Pixels, margin: float, source: str) -> Tensor:
    """(T', h, w) from 0 to 1.

    Args:
        margin: of the face squares, as a share of the face's side.
        source: "boxes" counts all of the face's box; "masks" what shows face or hair, by the network that finds the
            parts of a face, or as drawn.
    """
    frames = pixels.video
    height, width = frames.shape[1:3]
    parts = pixels.video_parts() if source == MASKS and pixels.video_parts is not None else None
    boxes = face_boxes(pixels, margin) if parts is None else []
    shares = []
    for start, end in latent_frames(len(frames)):
        if parts is not None:
            shown = 1 - parts[start:end, ..., NONE]
        elif source == MASKS:
            shown = 1 - find_face_parts(frames[start:end], boxes[start:end], widest=WIDEST)[:, NONE]
        else:
            shown = torch.stack([covered(box, height, width) for box in boxes[start:end]])
        shares.append(F.avg_pool2d(shown[:, None], PLACE).mean(dim=(0, 1)))
    return torch.stack(shares).clamp(0, 1)


def covered(box: Box, height: int, width: int) -> Tensor:
    """(height, width), the share of each pixel that lies in a box."""
    left, top, right, bottom = box
    return _overlap(top, bottom, height)[:, None] * _overlap(left, right, width)


def _overlap(first: float, last: float, count: int) -> Tensor:
    start = torch.arange(count, dtype=torch.float32)
    return (torch.clamp(start + 1, max=last) - torch.clamp(start, min=first)).clamp(0, 1)
