"""A person on a plain colour."""

import torch


def neutralise(frame: torch.Tensor, mask: torch.Tensor, color: tuple[float, float, float]) -> torch.Tensor:
    """(H, W, 3) with everything outside the mask (H, W) in one colour."""
    return torch.lerp(frame.new_tensor(color).float().expand_as(frame), frame.float(), mask[..., None])
