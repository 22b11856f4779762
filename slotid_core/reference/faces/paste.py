"""A square clip that was cut from a video, laid back over it with a soft edge.

For faces that are small in the frame: cut out larger, drawn once more, and put back where they were.
"""

import numpy as np
import torch
import torch.nn.functional as functional

from ...errors import SlotIDError
from .crop import resized
from .find_faces import check_frames


def paste_squares(
    frames: torch.Tensor,
    clip: torch.Tensor,
    squares: np.ndarray,
    feather: float = 0.2,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """The reverse of `cut_squares`.

    Args:
        frames: (T, H, W, 3) in [0, 1].
        clip: (T, size, size, 3) in [0, 1].
        squares: (T, 3) left, top, side in pixels of the frames.
        feather: width of the soft edge, as a share of the square's side, 0 to 0.5.
        mask: (T or 1, h, w) over the clip, 1 where the clip is to be seen; None is everywhere.

    Returns:
        (T, H, W, 3); outside the squares the frames' own values.

    Raises:
        SlotIDError: clips of different length, frames that are not square, or NaN.
    """
    check_frames(frames)
    check_frames(clip)
    count, size = clip.shape[:2]
    if not len(frames) == count == len(squares):
        raise SlotIDError(
            f"The video has {len(frames)} frames, the face clip {count} and its crop {len(squares)}. All must be of "
            "one clip: sampling may have changed the number of frames, which must be 4n+1."
        )
    if clip.shape[2] != size:
        raise SlotIDError(f"The face clip is {clip.shape[2]} x {size} pixels. Keep it square, as Track Face gives it.")
    if mask is not None and len(mask) not in (1, count):
        raise SlotIDError(f"The mask has {len(mask)} frames and the face clip {count}. Give one mask, or one a frame.")
    pasted = frames.clone()
    for index, square in enumerate(squares.tolist()):
        seen = None if mask is None else mask[min(index, len(mask) - 1)]
        _paste(pasted[index], clip[index, ..., :3], square, feather, seen)
    return pasted


def _paste(
    frame: torch.Tensor, face: torch.Tensor, square: list[float], feather: float, mask: torch.Tensor | None
) -> None:
    """Change `frame` (H, W, 3) in place where the square lies."""
    height, width = frame.shape[:2]
    left, top, side = square
    x0, x1 = max(0, int(np.floor(left))), min(width, int(np.ceil(left + side)))
    y0, y1 = max(0, int(np.floor(top))), min(height, int(np.ceil(top + side)))
    if x0 >= x1 or y0 >= y1:
        return
    # Centres of the pixels, as shares of the square's side.
    x = (torch.arange(x0, x1, device=frame.device) + 0.5 - left) / side  # (w,)
    y = (torch.arange(y0, y1, device=frame.device) + 0.5 - top) / side  # (h,)
    layers = face.to(frame) if mask is None else torch.cat([face.to(frame), _over(mask, face)[..., None].to(frame)], -1)
    if side < len(face):  # averaged where it shrinks, as sampling alone would leave pixels out
        layers = resized(layers[None], max(1, round(side)))[0]
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1) * 2 - 1  # (h, w, 2)
    drawn = functional.grid_sample(
        layers.movedim(-1, 0)[None].float(), places[None].float(), padding_mode="border", align_corners=False
    )[0].movedim(0, -1)
    weight = _soft(y, feather)[:, None, None] * _soft(x, feather)[None, :, None]  # (h, w, 1)
    if mask is not None:
        weight = weight * drawn[..., 3:]
    part = frame[y0:y1, x0:x1, :3]
    part.copy_(torch.lerp(part.float(), drawn[..., :3], weight.float()))


def _over(mask: torch.Tensor, face: torch.Tensor) -> torch.Tensor:
    """(h, w) of any size -> (size, size), laid over the face."""
    return functional.interpolate(mask[None, None].float(), size=face.shape[:2], mode="bilinear", antialias=True)[0, 0]


def _soft(place: torch.Tensor, feather: float) -> torch.Tensor:
    """1 inside, falling to 0 at both ends of [0, 1] over `feather` of it, without a corner."""
    inside = torch.minimum(place, 1 - place)
    rise = (inside / max(feather, 1e-6)).clamp(0, 1)
    return rise * rise * (3 - 2 * rise)
