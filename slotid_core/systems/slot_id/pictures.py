"""Pictures of what people would rather see than read: the gate's curve and the slots' heat map."""

import colorsys

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image, ImageDraw
from torch import Tensor

from .gate import GateSchedule

INK, GRID, PORTRAIT, CLIP = (40, 40, 48), (222, 222, 228), (214, 110, 60), (56, 120, 190)


def plot_gate(gate: GateSchedule, width: int = 512, height: int = 320) -> Tensor:
    """w and 1 - w over sampling, from pure noise (left) to the finished video (right). (1, H, W, 3) in [0, 1]."""
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = 46, 28, width - 14, height - 40
    for step in range(5):
        y = bottom + (top - bottom) * step / 4
        draw.line((left, y, right, y), fill=GRID)
        draw.text((8, y - 6), f"{step / 4:.2f}", fill=INK)
    noise_level = torch.linspace(1, 0, right - left)
    w = gate(noise_level)
    for values, color in ((w, PORTRAIT), (1 - w, CLIP)):
        points = [(left + i, bottom + (top - bottom) * value) for i, value in enumerate(values.tolist())]
        draw.line(points, fill=color, width=3)
    draw.text((left, 8), "portrait  w", fill=PORTRAIT)
    draw.text((left + 90, 8), "clip  1 - w", fill=CLIP)
    draw.text((left, bottom + 10), "pure noise, t = 1", fill=INK)
    draw.text((right - 92, bottom + 10), "finished, t = 0", fill=INK)
    return torch.from_numpy(np.asarray(image).copy()).float().div(255).unsqueeze(0)


def slot_colours(count: int) -> Tensor:
    """A colour for each slot: (S, 3) in [0, 1]."""
    return torch.tensor([colorsys.hsv_to_rgb(slot / count, 0.65, 1.0) for slot in range(count)])


def slots_over_frames(assignment: Tensor, frames: Tensor, opacity: float = 0.6) -> Tensor:
    """Frames (T, H, W, 3) in [0, 1] under the colour of the slot that reads each place, stronger where it reads most.

    Args:
        assignment: (1, S, T', H', W'), the probability of a slot given a patch; the frames last as long.
    """
    assignment = assignment[0].float().cpu()  # (S, T', H', W')
    count, latent_frames = assignment.shape[:2]
    share = assignment / assignment.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)  # of what this slot reads most
    strength, slot = share.max(dim=0)  # (T', H', W')
    nearest = torch.linspace(0, latent_frames - 1, len(frames)).round().long()
    colours = slot_colours(count)[slot][nearest]  # (T, H', W', 3)
    alpha = opacity * strength[nearest][:, None]
    size = tuple(frames.shape[1:3])
    colours, alpha = (F.interpolate(values, size=size, mode="nearest") for values in (colours.movedim(-1, 1), alpha))
    return torch.lerp(frames[..., :3].float().cpu(), colours.movedim(1, -1), alpha.movedim(1, -1))


def slot_heat_map(assignment: Tensor, panel_size: int = 128) -> Tensor:
    """One picture per latent frame: a strip with one panel per slot, brighter where the slot reads.

    Args:
        assignment: (1, S, T', H', W'), the probability of a slot given a patch.

    Returns:
        (T', panel_size, S · panel_size, 3) in [0, 1]
    """
    assignment = assignment[0].float().cpu()  # (S, T', H', W')
    num_slots = assignment.shape[0]
    peak = assignment.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)
    panels = F.interpolate(assignment / peak, size=(panel_size, panel_size), mode="nearest")
    return rearrange(panels[..., None] * slot_colours(num_slots)[:, None, None, None, :], "s t h w c -> t h (s w) c")
