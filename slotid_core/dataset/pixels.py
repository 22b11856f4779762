"""The pictures of one training sample, before any model sees them."""

from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Pixels:
    """All in [0, 1]: video (T, H, W, 3), reference (T', S, S, 3), portrait (1, P, P, 3).

    `facts` goes beside the sample: window, detector, crop report.
    """

    video: Tensor
    reference: Tensor
    portrait: Tensor
    facts: dict = field(default_factory=dict)


def fill(frames: Tensor, height: int, width: int) -> Tensor:
    """(T, H, W, 3) resized until it covers height x width, and what sticks out cut off on both sides alike."""
    scale = max(height / frames.shape[1], width / frames.shape[2])
    size = (max(height, round(frames.shape[1] * scale)), max(width, round(frames.shape[2] * scale)))
    resized = F.interpolate(
        frames.permute(0, 3, 1, 2), size=size, mode="bicubic", antialias=True, align_corners=False
    ).clamp(0, 1)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return resized[:, :, top : top + height, left : left + width].permute(0, 2, 3, 1)
