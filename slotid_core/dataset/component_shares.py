"""What each token of the video to learn shows of a face: targets of a system that routes tokens by it.

A token of Wan covers 16 x 16 pixels, and four frames but for the first ones, which have a latent frame of their own. It
can show several components, so its target is a share of each.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SlotIDError
from ..reference.faces.face import Box
from ..reference.portrait.parts import WIDEST, find_face_parts
from .pixels import Pixels

TOKEN = 16  # pixels, along a side
EVERY = 4  # frames of a latent frame


def component_shares(pixels: Pixels, margin: float) -> Tensor:
    """(7, T', h, w), shares of nothing of a face and of each component, in the order of `reference.portrait.parts`;
    they sum to 1.

    Args:
        margin: of the face squares, as a share of the face's side.
    """
    frames = pixels.video
    parts = None if pixels.video_parts is None else pixels.video_parts().movedim(-1, 1)  # (T, 7, H, W)
    boxes = [] if parts is not None else face_boxes(pixels, margin)
    shares = []
    for start, end in latent_frames(len(frames)):
        if parts is not None:
            shown = parts[start:end]
        else:
            shown = find_face_parts(frames[start:end], boxes[start:end], widest=WIDEST)
        shares.append(pooled(shown).mean(dim=0))
    return torch.stack(shares, dim=1)


def latent_frames(count: int) -> list[tuple[int, int]]:
    """First and last frame (excluded) of each latent frame of a video of `count` frames."""
    return [(0, 1), *((start, min(start + EVERY, count)) for start in range(1, count, EVERY))]


def pooled(parts: Tensor) -> Tensor:
    """(T, 7, H, W) -> (T, 7, ⌈H / 16⌉, ⌈W / 16⌉); an odd half of a token goes on from the other side, as in Wan."""
    height, width = parts.shape[2:]
    return F.avg_pool2d(F.pad(parts, (0, -width % TOKEN, 0, -height % TOKEN), mode="circular"), TOKEN)


def face_boxes(pixels: Pixels, margin: float) -> list[Box]:
    """Where the face is in each frame of the video, without the margin of its square."""
    if pixels.face_squares is None:
        raise SlotIDError("It is not known where in the video the face is. Prepare the toy world, or read a clip.")
    boxes = []
    for left, top, side in pixels.face_squares.tolist():
        room = side * margin / (1 + 2 * margin)
        boxes.append((left + room, top + room, left + side - room, top + side - room))
    return boxes
