"""The six components of a face, each a picture of its own: what a parsing says of a pixel decides whose it is.

Outside of the component a picture is white. A component that can hardly be seen, as hair under a hat or an eye in
profile, is left out.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import SlotIDError
from ..faces.crop import cut_squares
from ..faces.face import Box
from . import parts

NAMES = parts.NAMES[1:]  # brows, eyes, mouth, nose, skin, hair
# Of the face's box, as an area; less of a component is left out. A parsing sees a little hair on bald heads.
LEAST = {"brows": 0.002, "eyes": 0.002, "mouth": 0.002, "nose": 0.002, "skin": 0.05, "hair": 0.03}
SURE = 0.5  # share of a pixel from which on it counts as the component's
ROOM = 0.1  # around a component on each side, as a share of its larger side
WHITE = 1.0


@dataclass(frozen=True)
class Components:
    """Of M components, in the order of `NAMES`.

    Attributes:
        pictures: (M, 3, S, S) in [0, 1], white outside of the component; all white where it is hidden.
        places: (M, 4): 1 where it is shown, else 0; the middle of its square, x and y, from the middle of the face's
            box, and the square's side, all three in sides of the box. All 0 where it is hidden.
        areas: (M,), as shares of the face's box.
    """

    pictures: Tensor
    places: Tensor
    areas: Tensor

    @property
    def hidden(self) -> list[str]:
        """Names of those that are left out."""
        return [name for name, place in zip(NAMES, self.places, strict=True) if not place[0]]


def cut_components(picture: Tensor, shares: Tensor, box: Box, side: int) -> Components:
    """
    Args:
        picture: (H, W, 3) in [0, 1].
        shares: (7, H, W), how much of each pixel shows nothing of a face and each component; as `parts` gives it.
        box: the face, in pixels.
        side: S of the pictures.
    """
    face = max(box[2] - box[0], box[3] - box[1], 1.0)
    middle = picture.new_tensor([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    areas = (shares[1:] > SURE).float().sum((1, 2)) / face**2
    pictures = picture.new_full((len(NAMES), 3, side, side), WHITE)
    places = picture.new_zeros(len(NAMES), 4)
    for number, (name, share) in enumerate(zip(NAMES, shares[1:], strict=True)):
        if areas[number] < LEAST[name]:
            continue
        rows, columns = (share > SURE).nonzero(as_tuple=True)
        left, top = float(columns.min()), float(rows.min())
        right, bottom = float(columns.max()) + 1, float(rows.max()) + 1
        extent = (1 + 2 * ROOM) * max(right - left, bottom - top)
        corner = ((left + right - extent) / 2, (top + bottom - extent) / 2, extent)
        # Beyond the border a cut mirrors the picture, so that the mask is cut with it.
        masked = torch.cat([picture * share[..., None], share[..., None]], dim=2)
        cut = cut_squares(masked[None], torch.tensor([corner]).numpy(), side)[0] * _inside(corner, shares, side)
        pictures[number] = (cut[..., :3] + WHITE * (1 - cut[..., 3:])).clamp(0, 1).movedim(-1, 0)
        centre = picture.new_tensor([corner[0] + extent / 2, corner[1] + extent / 2])
        places[number] = torch.tensor([1.0, *((centre - middle) / face).tolist(), extent / face])
    return Components(pictures, places, areas)


def _inside(corner: tuple[float, float, float], shares: Tensor, side: int) -> Tensor:
    """(side, side, 1), 1 where a cut square lies in the picture."""
    left, top, extent = corner
    steps = (torch.arange(side, device=shares.device) + 0.5) * extent / side
    x, y = left + steps, top + steps
    height, width = shares.shape[1:]
    return (((y >= 0) & (y <= height))[:, None] & ((x >= 0) & (x <= width))[None])[..., None].float()


def best_of(found: list[Components]) -> Components:
    """Each component from the picture in which it is largest."""
    areas = torch.stack([one.areas * one.places[:, 0] for one in found])  # (pictures, M)
    chosen = areas.argmax(dim=0).tolist()
    return Components(
        torch.stack([found[which].pictures[m] for m, which in enumerate(chosen)]),
        torch.stack([found[which].places[m] for m, which in enumerate(chosen)]),
        torch.stack([found[which].areas[m] for m, which in enumerate(chosen)]),
    )


def shares_of_masks(masks: Tensor) -> Tensor:
    """Masks (M, H, W) in [0, 1] of the components, by hand or of another parsing -> shares (7, H, W).

    Raises:
        SlotIDError: their number is another.
    """
    if masks.dim() != 3 or len(masks) != len(NAMES):
        raise SlotIDError(
            f"Masks of components are {len(NAMES)}, in the order {', '.join(NAMES)}; got {tuple(masks.shape)}. Make "
            "one batch of them, with empty ones for what is hidden."
        )
    masks = masks.float().clamp(0, 1)
    total = masks.sum(0, keepdim=True)
    masks = masks / total.clamp(min=1)
    return torch.cat([1 - total.clamp(max=1), masks])
