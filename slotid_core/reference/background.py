"""The person cut out of one frame, and put on a plain colour."""

import numpy as np
import torch
import torch.nn.functional as functional

from .face import Box

WORKING_SIDE = 128  # pixels; the cut is soft, so a coarse grid is enough and takes well under a second
BACKGROUND, PERSON, UNKNOWN = 0, 1, 2


def person_mask(frame: torch.Tensor, face: Box) -> tuple[torch.Tensor, str]:
    """Head and shoulders around a face, from colours and edges.

    OpenCV's GrabCut where OpenCV is installed, else scikit-image's random walker (Grady 2006), else a soft ellipse;
    all start from where head, shoulders and background usually are relative to a face.

    Args:
        frame: (H, W, 3) in [0, 1].
        face: left, top, right, bottom in pixels.

    Returns:
        mask (H, W) in [0, 1], 1 = person, and the name of the method.
    """
    height, width = frame.shape[:2]
    scale = min(1.0, WORKING_SIDE / max(height, width))
    size = (max(8, round(height * scale)), max(8, round(width * scale)))
    small = functional.interpolate(frame.permute(2, 0, 1)[None].float(), size=size, mode="bilinear", antialias=True)
    picture = small[0].permute(1, 2, 0).cpu().numpy()
    hints = region_hints(size, tuple(value * scale for value in face))
    for cut in (_grab_cut, _random_walker):
        try:
            mask, method = cut(picture, hints), cut.__name__.strip("_").replace("_", " ")
            break
        except ImportError:
            continue
    else:
        mask, method = (hints != BACKGROUND).astype(np.float32), "ellipse"
    soft = functional.interpolate(torch.from_numpy(mask)[None, None].float(), size=(height, width), mode="bicubic")
    return soft[0, 0].clamp(0, 1).to(frame.device), method


def neutralise(frame: torch.Tensor, mask: torch.Tensor, color: tuple[float, float, float]) -> torch.Tensor:
    """(H, W, 3) with everything outside the mask in one colour."""
    return torch.lerp(frame.new_tensor(color).float().expand_as(frame), frame.float(), mask[..., None])


def region_hints(size: tuple[int, int], face: Box) -> np.ndarray:
    """(H, W) of BACKGROUND, PERSON, UNKNOWN: what a face's box says about the rest of a head-and-shoulders picture."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    x, y = (face[0] + face[2]) / 2, (face[1] + face[3]) / 2
    half = max(face[2] - face[0], face[3] - face[1]) / 2
    across, down = (columns - x) / half, (rows - y) / half  # the face spans -1..1 in both
    hints = np.full(size, UNKNOWN, dtype=np.uint8)
    outside_head = (across / 2.0) ** 2 + ((down + 0.2) / 2.1) ** 2 > 1
    outside_shoulders = np.abs(across) > 1.0 + 1.6 * np.clip(down - 0.6, 0, None)
    hints[outside_head & outside_shoulders] = BACKGROUND
    hints[(across / 0.75) ** 2 + (down / 0.95) ** 2 < 1] = PERSON
    hints[(down > 1.0) & (np.abs(across) < 0.35)] = PERSON
    return hints


def _grab_cut(picture: np.ndarray, hints: np.ndarray) -> np.ndarray:
    import cv2

    labels = np.choose(hints, [cv2.GC_BGD, cv2.GC_FGD, cv2.GC_PR_FGD]).astype(np.uint8)
    pixels = np.ascontiguousarray((picture * 255).round().astype(np.uint8))
    cv2.setRNGSeed(0)  # its colour models start from random clusters; the same frame must give the same mask
    cv2.grabCut(pixels, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    person = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    return cv2.GaussianBlur(person, (0, 0), 0.8)


def _random_walker(picture: np.ndarray, hints: np.ndarray) -> np.ndarray:
    from skimage.segmentation import random_walker

    if not (hints == BACKGROUND).any() or not (hints == UNKNOWN).any():
        return (hints != BACKGROUND).astype(np.float32)
    seeds = np.choose(hints, [1, 2, 0])  # 0 = to be decided
    chances = random_walker(picture, seeds, beta=300, mode="cg", channel_axis=-1, return_full_prob=True)
    sharper = (chances[1] - 0.5) * 6 + 0.5
    return sharper.clip(0, 1).astype(np.float32)
