"""VBench's figures from features and flow (Huang et al. 2024, arXiv 2311.17982, and its published code)."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from .frames import Frames

LARGEST_SHARE = 0.05  # of a flow's vectors, the longest ones, whose mean length counts
LEAST_FLOW = 6.0  # pixels at a short side of 256
OF_SIXTEEN = 4  # pairs of neighbouring frames that must move, of 16 frames


def consistency(features: Tensor) -> float:
    """Unit vectors (T, D) -> mean over frames 1 to T - 1 of the mean of max(0, cos) to the frame before and the first.

    NaN of a single frame.
    """
    if len(features) < 2:
        return float("nan")
    before = (features[1:] * features[:-1]).sum(-1).clamp(min=0)
    first = (features[1:] * features[:1]).sum(-1).clamp(min=0)
    return float(((before + first) / 2).mean())


def frames_at(frames: Frames, rate: int) -> np.ndarray:
    """About `rate` frames a second, (N, H, W, 3); all where the video's own rate is not known or lower."""
    return frames.pixels[:: max(1, round(frames.rate / rate))]


def dynamic_degree(pixels: np.ndarray, flow: Callable[[Tensor, Tensor], Tensor]) -> float:
    """1 if enough pairs of neighbouring frames (N, H, W, 3) move far enough, else 0."""
    pictures = torch.from_numpy(np.ascontiguousarray(pixels)).movedim(-1, 1).float()
    least = LEAST_FLOW * min(pictures.shape[-2:]) / 256
    wanted = round(OF_SIXTEEN * len(pictures) / 16)
    count = 0
    for first, second in pairwise(pictures):
        length = flow(first[None], second[None]).square().sum(0).sqrt().flatten()
        largest = length.topk(max(1, int(len(length) * LARGEST_SHARE))).values
        count += bool(largest.mean() > least)
        if count >= wanted:
            return 1.0
    return 0.0
