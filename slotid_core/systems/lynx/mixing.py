"""What Lynx knows of people, joined: embeddings averaged, pictures put side by side.

An embedding is a direction, and means of directions are what a face from a clip is as well. Features of the Ref adapter
belong to places in a picture, of which no mean has a meaning; attention reads several pictures of one person instead.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import SlotIDError
from ...provenance import joined
from .reference import MOST_PICTURES, ReferenceFeatures

LEAST_COSINE = -0.99  # below it the two directions are opposite, and nothing lies between them


def mixed_face(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """From one embedding (1, W) at 0 to the other at 1, exactly so at the ends: along the arc between them.

    Raises:
        SlotIDError: the embeddings are opposite, or come from different networks.
    """
    check_faces([first, second])
    if weight in (0.0, 1.0):
        return (first, second)[int(weight)]
    one, other = (F.normalize(face.double(), dim=1) for face in (first, second))
    cosine = (one * other).sum().clamp(-1, 1)
    if cosine < LEAST_COSINE:
        raise SlotIDError(f"The two faces are opposite (cosine {cosine:.2f}), and nobody is between them. Take others.")
    angle = torch.acos(cosine)
    if angle < 1e-4:
        return first
    between = (torch.sin((1 - weight) * angle) * one + torch.sin(weight * angle) * other) / torch.sin(angle)
    return F.normalize(between, dim=1).to(first.dtype)


def check_faces(embeddings: Sequence[Tensor]) -> None:
    """
    Raises:
        SlotIDError: embeddings (1, W) of different networks.
    """
    widths = sorted({face.shape[1] for face in embeddings})
    if len(widths) > 1:
        raise SlotIDError(
            f"The faces have {' and '.join(map(str, widths))} numbers. Embed all of them with the same face_encoder."
        )


def merged_references(references: Sequence[ReferenceFeatures]) -> ReferenceFeatures:
    """References of one person as one, which attention reads side by side.

    Raises:
        SlotIDError: they come from video models of different sizes, or are more than the Ref adapter is meant for.
    """
    sizes = {(one.model_width, one.model_depth) for one in references}
    if len(sizes) > 1:
        told = ", ".join(f"{width} x {depth}" for width, depth in sorted(sizes))
        raise SlotIDError(f"The references come from models of width x blocks {told}. Encode all with one MODEL.")
    count = sum(int(one.source.get("pictures", 1)) for one in references)
    if count > MOST_PICTURES:
        raise SlotIDError(f"The references have {count} pictures; {MOST_PICTURES} are the most. Leave some out.")
    sources = [one.source for one in references]
    facts = {"merged": sources, "pictures": count} | joined(sources)
    return ReferenceFeatures(torch.cat([one.features for one in references], dim=2), facts)
