"""Studio portraits, keyed and named part by part, and what can be done to their faces: a blink, spectacles."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from ..errors import SlotIDError
from ..files import whole_file
from ..picture_files import read_rgb
from ..reference.portrait.parts import EYES, NONE, SKIN
from .backgrounds import colors
from .keying import key
from .portrait_parts import BROW_OUTLINES, CHIN, CREASES, FACE, LOWER_LIDS, UPPER_LIDS, part_map

SIZE = 384  # pixels of a stored portrait
UNKNOWN = 255  # in a part map
HELD_OUT = 20  # people, the last by number, who are never learnt from
POINTS = 189


@dataclass(frozen=True)
class Portraits:
    """Keyed portraits.

    Attributes:
        colors: (N, 3, S, S) uint8, the person's own colours; what was background is undefined.
        alpha: (N, S, S) uint8.
        parts: (N, S, S) uint8, index in `reference.portrait.parts.NAMES`, or `UNKNOWN`.
        points: (N, 189, 2) in pixels, NaN where nobody marked any.
        boxes: (N, 4), the face as a detector draws it, from brows to chin.
    """

    colors: Tensor
    alpha: Tensor
    parts: Tensor
    points: Tensor
    boxes: Tensor

    def __len__(self) -> int:
        return len(self.alpha)


def people_in(folder: Path) -> tuple[list[str], list[str]]:
    """Numbers of the people to learn from, and of those who are held out.

    Raises:
        SlotIDError: the folder does not hold the set.
    """
    numbers = sorted({path.name.split("_")[0] for path in folder.glob("*_neutral.jpg")})
    if len(numbers) <= HELD_OUT or not (folder / "landmarks.json").is_file():
        raise SlotIDError(
            f"{folder} does not hold the portraits (NNN_neutral.jpg, NNN_smiling.jpg, landmarks.json). Give "
            "--portraits."
        )
    return numbers[:-HELD_OUT], numbers[-HELD_OUT:]


def read_portraits(folder: Path, numbers: list[str], cache: Path | None = None) -> Portraits:
    """Both pictures of each of these people; keying takes a second each, so that the result is kept at `cache`."""
    if cache is not None and cache.is_file():
        return Portraits(**load_file(cache))
    landmarks = json.loads((folder / "landmarks.json").read_text())
    read = []
    for number in tqdm(numbers, desc="keying portraits", mininterval=5):
        points = np.array(landmarks[f"{number}_neutral"], dtype=np.float64)
        read += [
            read_portrait(folder / f"{number}_neutral.jpg", points, marked=True),
            read_portrait(folder / f"{number}_smiling.jpg", points, marked=False),
        ]
    tensors = {name: torch.stack([one[name] for one in read]) for name in read[0]}
    if cache is not None:
        with whole_file(cache, ending="") as unfinished:
            save_file(tensors, unfinished)
    return Portraits(**tensors)


def read_portrait(path: Path, points: np.ndarray, marked: bool) -> dict[str, Tensor]:
    """One portrait; `points` not `marked` on it are those of the person's other picture, good for a box only."""
    picture = torch.from_numpy(read_rgb(path)).float() / 255
    alpha, own = key(picture, points)
    parts = np.full(alpha.shape, UNKNOWN, dtype=np.uint8)
    if marked:
        parts = part_map(picture.numpy(), alpha.numpy(), points)
    else:
        parts[alpha.numpy() < 0.5] = NONE
    scale = SIZE / alpha.shape[0]
    points = points * scale
    return {
        "colors": _smaller(own.permute(2, 0, 1)),
        "alpha": _with_certain_border(_smaller(alpha[None])[0]),
        "parts": F.interpolate(torch.from_numpy(parts)[None, None], (SIZE, SIZE), mode="nearest-exact")[0, 0],
        "points": torch.from_numpy(points if marked else np.full_like(points, np.nan)).float(),
        "boxes": torch.tensor(face_box(points)).float(),
    }


def _smaller(picture: Tensor) -> Tensor:
    """(C, H, W) in [0, 1] -> (C, SIZE, SIZE) uint8."""
    picture = F.interpolate(picture[None], (SIZE, SIZE), mode="bilinear", antialias=True)[0]
    return (picture * 255).round().byte()


def _with_certain_border(alpha: Tensor) -> Tensor:
    """The outermost pixels all person or none: where a crop reaches beyond the picture, they are repeated."""
    for edge in (alpha[-1], alpha[:, 0], alpha[:, -1]):
        edge.copy_(torch.where(edge > 127, 255, 0))
    return alpha


def face_box(points: np.ndarray) -> tuple[float, float, float, float]:
    """(189, 2) -> a square from above the brows to the chin."""
    face, brows = points[list(FACE)], points[[i for outline in BROW_OUTLINES for i in outline]]
    middle, bottom = (face[:, 0].min() + face[:, 0].max()) / 2, points[CHIN, 1]
    top = brows[:, 1].min() - 0.35 * (bottom - brows[:, 1].min())
    half = (bottom - top) / 2
    return middle - half, top, middle + half, bottom


def blink(colors: Tensor, parts: Tensor, points: np.ndarray, amount: float) -> tuple[Tensor, Tensor]:
    """Upper lids drawn down over the eyes.

    Args:
        colors: (3, H, W) in [0, 1]; parts: (H, W).
        points: (189, 2).
        amount: 1 shuts the eyes.
    """
    colors, parts = colors.clone(), parts.clone()
    height, width = parts.shape
    for upper, lower, crease, brow in zip(UPPER_LIDS, LOWER_LIDS, CREASES, BROW_OUTLINES, strict=True):
        lid, under, fold = points[list(upper)], points[list(lower)], points[list(crease)]
        columns = np.arange(int(np.ceil(lid[:, 0].min())), int(lid[:, 0].max()) + 1)
        top = np.interp(columns, lid[:, 0], lid[:, 1])
        end = np.maximum(np.interp(columns, under[:, 0], under[:, 1]), top)
        start = np.interp(columns, fold[:, 0], fold[:, 1])
        start = np.minimum(start, top - 1) - 0.25 * np.maximum(0, start - points[list(brow), 1].max())
        now = top + amount * (end - top)  # where the lid's margin is
        rows = torch.arange(height)[:, None] + 0.0
        start, top, now = (torch.from_numpy(edge)[None].float() for edge in (start, top, now))
        moved = (rows >= start) & (rows <= now)
        stretch = (top - start).clamp(min=0.5) / (now - start).clamp(min=0.5)
        source = torch.where(moved, start + (rows - start) * stretch, rows)  # (H, W')
        x = torch.from_numpy(columns).float().expand(height, -1)
        grid = torch.stack([(x + 0.5) * 2 / width - 1, (source + 0.5) * 2 / height - 1], dim=-1)[None]
        columns = torch.from_numpy(columns)
        colors[:, :, columns] = F.grid_sample(colors[None], grid.float(), padding_mode="border", align_corners=False)[0]
        region = parts[:, columns]
        parts[:, columns] = torch.where((region == EYES) & (rows < now + 0.5), torch.full_like(region, SKIN), region)
    return colors, parts


def spectacles(colors: Tensor, points: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Frames drawn around the eyes, round or square; the glass may be tinted a little."""
    height, width = colors.shape[1:]
    centres = np.stack([points[list(lid)].mean(axis=0) for lid in UPPER_LIDS])
    apart = float(np.linalg.norm(centres[1] - centres[0]))
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    across, down, thick = (
        apart * rng.uniform(0.33, 0.44),
        apart * rng.uniform(0.22, 0.36),
        apart * rng.uniform(0.02, 0.06),
    )
    power = rng.choice([2.0, 5.0])
    rim = torch.zeros(height, width)
    glass = torch.zeros(height, width)
    for cx, cy in centres + np.array([0, apart * rng.uniform(0.0, 0.1)]):
        inside = ((x - cx) / across).abs() ** power + ((y - cy) / down).abs() ** power
        edge = ((inside ** (1 / power) - 1) * min(across, down)).abs()
        rim = rim.maximum((1.5 - (edge - thick).clamp(min=0)).clamp(0, 1) * (edge < thick + 1.5))
        glass = glass.maximum((inside < 1).float())
    bridge = ((y - centres[:, 1].mean()).abs() < thick) & (
        (x - centres[:, 0].mean()).abs() < apart / 2 - across + thick
    )
    rim = rim.maximum(bridge.float())
    tint = colors_of_glass(rng)
    colors = torch.lerp(colors, tint[0][:, None, None].expand_as(colors), glass * float(rng.uniform(0, 0.25)))
    return torch.lerp(colors, tint[1][:, None, None].expand_as(colors), rim)


def colors_of_glass(rng: np.random.Generator) -> Tensor:
    return colors(rng, 2) * torch.tensor([[1.0], [float(rng.uniform(0.1, 0.8))]])
