"""A part of a video's frame, such as one half or a tracked person's outline, and which tokens lie in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SlotIDError
from .hooks.regions import TokenRegion

SIDE = 512  # pixels of a drawn box's mask
ROUNDING = 1e-3  # by which blurring and resizing leave the range from 0 to 1
LEAST = 1 / 64  # share of a token's area; with less, a region leaves the token out
FRAMES_PER_LATENT = 4


@dataclass(frozen=True, eq=False)
class Region:
    """A part of the frame.

    Attributes:
        mask: (F, H, W) in [0, 1] of any size, laid over the whole frame; 1 is inside. One frame is for the whole video;
            of more, each is for one frame of the video, and the last one also for those that follow.

    Raises:
        SlotIDError: the mask has another shape, values that are no shares, or nothing in it.
    """

    mask: Tensor

    def __post_init__(self):
        mask = self.mask
        if mask.dim() != 3 or not mask.numel():
            raise SlotIDError(f"A region's mask is (frames, height, width); this is {tuple(mask.shape)}.")
        if not torch.isfinite(mask).all() or mask.min() < -ROUNDING or mask.max() > 1 + ROUNDING:
            raise SlotIDError("A region's mask holds values outside of 0 to 1. Make the mask again.")
        if mask.max() < LEAST:
            raise SlotIDError("The region's mask is empty, so that nobody would be drawn. Mark where the person is.")

    @property
    def is_everything(self) -> bool:
        return bool((self.mask == 1).all())

    def tokens(
        self, grid: tuple[int, int, int], device: torch.device | None = None, frames: Sequence[int] | None = None
    ) -> TokenRegion:
        """The region's tokens in a video of this grid (time, height, width); there may be none.

        Args:
            frames: which latent frames of the whole video these are, in a context window; by default the first ones.
        """
        weight = self.weights(grid, frames).flatten()
        weight = torch.where(weight > 1 - LEAST, 1.0, weight)
        index = (weight >= LEAST).nonzero().flatten()
        return TokenRegion(index.to(device), weight[index].to(device), len(weight))

    def weights(self, grid: tuple[int, int, int], frames: Sequence[int] | None = None) -> Tensor:
        """(time, height, width), the share of each token's area that is inside."""
        time, height, width = grid
        shares = F.adaptive_avg_pool2d(self.mask[:, None].float().cpu(), (height, width))[:, 0]  # (F, h, w)
        if len(shares) == 1:
            return shares.expand(time, -1, -1)
        return torch.stack([of_latent_frame(shares, frame) for frame in (range(time) if frames is None else frames)])


def of_latent_frame(shares: Tensor, frame: int) -> Tensor:
    """The mean of (F, h, w) over the frames of a video that one latent frame holds: the first alone, then four each."""
    first = max(FRAMES_PER_LATENT * (frame - 1) + 1, 0)
    last = min(FRAMES_PER_LATENT * frame, len(shares) - 1)
    return shares[first : last + 1].mean(0) if first <= last else shares[-1]


def box(x: float, y: float, width: float, height: float) -> Region:
    """A rectangle; its left, top, width and height are shares of the frame.

    Raises:
        SlotIDError: nothing of it lies in the frame.
    """
    right, bottom = min(x + width, 1.0), min(y + height, 1.0)
    if min(x, y) < 0 or right <= x or bottom <= y:
        raise SlotIDError(
            f"The box from ({x:g}, {y:g}) with width {width:g} and height {height:g} has nothing in the frame, which "
            "goes from 0 to 1. Move it, or make it larger."
        )
    return Region((inside(y, bottom)[:, None] * inside(x, right)[None])[None])


def inside(start: float, end: float) -> Tensor:
    """(SIDE,), the share of each pixel of a line that lies between two places of it."""
    edges = torch.arange(SIDE, dtype=torch.float64)
    return ((edges + 1).clamp(max=end * SIDE) - edges.clamp(min=start * SIDE)).clamp(0, 1).float()
