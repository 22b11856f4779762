"""Cuts between scenes, from the frames alone.

At a cut both the picture's layout and its colours change at once, and neither comes back in the next frame. A fast
movement changes the layout more than the colours, and after a flash the old picture comes back. The layout's change is
judged against that of the frames around it, so that a lively clip is not taken for a cut one. A jump within one
unchanged scene is not seen.
"""

import itertools

import numpy as np
import torch
import torch.nn.functional as functional

THUMBNAIL = 24  # pixels on each side: small enough that a nod does not count
COLORS = 8  # steps of each channel in the histogram
LAYOUT_CHANGE = 0.12  # 1 - correlation of the two thumbnails; a lively head reaches 0.17 from frame to frame
COLOR_CHANGE = 0.15  # share of the pixels whose colour is new; a lively clip reaches 0.05
BOTH_CHANGES = 0.45  # their sum
TIMES_THE_USUAL = 3.0  # how far above its neighbours' median a change must stand out
NEIGHBOURS = 8  # changes on each side


def find_cuts(frames: torch.Tensor) -> list[int]:
    """(T, H, W, 3) in [0, 1] -> indices of the first frames of new scenes."""
    if len(frames) < 2:
        return []
    thumbnails = torch.empty(len(frames), THUMBNAIL, THUMBNAIL, 3)
    for index, frame in enumerate(frames):
        thumbnails[index] = thumbnail(frame)
    return cuts_between(thumbnails)


def thumbnail(frame: torch.Tensor) -> torch.Tensor:
    """(H, W, 3) -> (THUMBNAIL, THUMBNAIL, 3): all that is kept of a frame to find cuts."""
    small = functional.interpolate(frame.permute(2, 0, 1)[None].float(), size=(THUMBNAIL, THUMBNAIL), mode="area")
    return small[0].permute(1, 2, 0)


def cuts_between(thumbnails: torch.Tensor) -> list[int]:
    """(T, THUMBNAIL, THUMBNAIL, 3) -> indices of the first frames of new scenes."""
    pictures = thumbnails.double().numpy()
    layout = _layout_change(pictures)  # (T-1,), between frame i and i + 1
    colors = _color_change(pictures)
    cuts = []
    for index in range(len(layout)):
        around = np.r_[layout[max(0, index - NEIGHBOURS) : index], layout[index + 1 : index + 1 + NEIGHBOURS]]
        usual = np.median(around) if len(around) else 0.0
        stands_out = layout[index] > max(LAYOUT_CHANGE, TIMES_THE_USUAL * usual)
        new_colors = colors[index] > max(COLOR_CHANGE, BOTH_CHANGES - layout[index])
        if stands_out and new_colors and not _comes_back(pictures, index):
            cuts.append(index + 1)
    return cuts


def longest_shot(cuts: list[int], num_frames: int) -> tuple[int, int]:
    """(first, end) of the longest run of frames without a cut; the earliest of several."""
    edges = [0, *cuts, num_frames]
    return max(itertools.pairwise(edges), key=lambda shot: shot[1] - shot[0])


def _comes_back(pictures: np.ndarray, index: int) -> bool:
    """Whether one of the next two frames is like the one before the change: then it was a flash or a damaged frame."""
    before, later = pictures[index], pictures[index + 2 : index + 4]
    return any(_layout_change(np.stack([before, frame]))[0] < 0.5 * LAYOUT_CHANGE for frame in later)


def _layout_change(pictures: np.ndarray) -> np.ndarray:
    grey = pictures.mean(axis=-1).reshape(len(pictures), -1)
    grey = grey - grey.mean(axis=1, keepdims=True)
    contrast = np.sqrt((grey**2).mean(axis=1))
    product = (grey[1:] * grey[:-1]).mean(axis=1)
    even = (contrast[1:] < 0.01) & (contrast[:-1] < 0.01)  # two plain pictures have the same layout
    return np.where(even, 0.0, 1 - product / np.maximum(contrast[1:] * contrast[:-1], 1e-4))


def _color_change(pictures: np.ndarray) -> np.ndarray:
    """Share of the pixels whose colour is new, with histograms soft enough for a drift of the light."""
    from scipy.ndimage import convolve1d

    cells = np.clip((pictures * COLORS).astype(int), 0, COLORS - 1) @ [COLORS * COLORS, COLORS, 1]
    histograms = np.stack([np.bincount(cell.ravel(), minlength=COLORS**3) for cell in cells])
    cubes = histograms.reshape(-1, COLORS, COLORS, COLORS).astype(float)
    for axis in (1, 2, 3):
        cubes = convolve1d(cubes, [0.25, 0.5, 0.25], axis, mode="nearest")
    shares = cubes.reshape(len(cubes), -1) / histograms.sum(axis=1, keepdims=True)
    return 1 - np.minimum(shares[1:], shares[:-1]).sum(axis=1)
