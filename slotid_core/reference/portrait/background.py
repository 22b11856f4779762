"""The person cut out of one frame, and put on a plain colour.

Graph cut with colour models, as in GrabCut (Rother, Kolmogorov, Blake 2004), with one term more: where head and
shoulders usually are around a face. OpenCV's GrabCut has no such term, and without it hair and clothes in the colours
of the background go to the wrong side.
"""

import numpy as np
import torch
import torch.nn.functional as functional

from ..faces.face import Box, box_of

WORKING_SIDE = 112  # pixels; the edge is softened afterwards, so a coarse grid does
ROUNDS = 4  # colour models and cut are refined in turn
COLORS = 5  # Gaussians in each colour model
SMOOTHNESS = 6.0  # cost of a boundary in a flat region; the paper has 50, without a shape term
SHAPE_TRUST = 8.0  # cost of one face half-width away from the usual outline
COLOR_TRUST = 8.0  # the most that a pixel's colour may say against the usual outline
CERTAIN = 1e4
UNITS = 100  # the flow solver counts in integers


def person_mask(frame: torch.Tensor, face: Box) -> torch.Tensor:
    """Head and shoulders around a face.

    Args:
        frame: (H, W, 3) in [0, 1].
        face: left, top, right, bottom in pixels.

    Returns:
        (H, W) in [0, 1], 1 = person, with an edge a few pixels soft.
    """
    height, width = frame.shape[:2]
    scale = min(1.0, WORKING_SIDE / max(height, width))
    size = (max(8, round(height * scale)), max(8, round(width * scale)))
    small = functional.interpolate(frame.permute(2, 0, 1)[None].float(), size=size, mode="bilinear", antialias=True)
    picture = small[0].permute(1, 2, 0).cpu().numpy().astype(np.float64)
    belief = shape_belief(size, box_of(value * scale for value in face))
    # At first only what is certainly face has a person's colours, for the usual outline holds background too; and the
    # background's are those above the chin, for clothes reach beyond the outline.
    person, background = belief >= CERTAIN, belief <= 0
    background[round(face[3] * scale) :] = False
    for _ in range(ROUNDS):
        person = _without_specks(_cut(picture, _color_belief(picture, person, background) + belief))
        background = ~person
    soft = functional.interpolate(
        torch.from_numpy(person)[None, None].float(), size=(height, width), mode="bilinear", align_corners=False
    )
    return soft[0, 0].to(frame.device)


def neutralise(frame: torch.Tensor, mask: torch.Tensor, color: tuple[float, float, float]) -> torch.Tensor:
    """(H, W, 3) with everything outside the mask in one colour."""
    return torch.lerp(frame.new_tensor(color).float().expand_as(frame), frame.float(), mask[..., None])


def shape_belief(size: tuple[int, int], face: Box) -> np.ndarray:
    """(H, W), positive where a head-and-shoulders picture with this face usually shows the person, else negative."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    x, y = (face[0] + face[2]) / 2, (face[1] + face[3]) / 2
    half = max(face[2] - face[0], face[3] - face[1]) / 2
    across, down = (columns - x) / half, (rows - y) / half  # the face spans -1..1 in both
    head = 1 - np.hypot(across / 1.25, (down + 0.25) / 1.4)
    shoulders = np.minimum(0.75 + 1.1 * np.clip(down - 0.9, 0, None) - np.abs(across), down - 0.8)
    belief = SHAPE_TRUST * np.maximum(head, shoulders).clip(-2, 1)
    belief[np.hypot(across / 0.8, (down + 0.15) / 1.0) < 1] = CERTAIN
    belief[np.maximum(head, shoulders) < -1.5] = -CERTAIN
    return belief


def _without_specks(person: np.ndarray) -> np.ndarray:
    """Only the large connected parts of (H, W): lights of the background are no person."""
    from scipy.ndimage import label

    # SciPy gives a pair unless an output array is handed in; its type is inferred as if one always were.
    parts, count = label(person)  # pyright: ignore[reportGeneralTypeIssues]
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    return np.isin(parts, 1 + np.flatnonzero(sizes >= 0.1 * sizes.max(initial=0)))


def _color_belief(picture: np.ndarray, person: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Log-likelihood ratio of each pixel's colour, of those of a person against those of the background."""
    if not person.any() or not background.any():
        return np.zeros(person.shape)
    ratio = _log_likelihood(picture, picture[person]) - _log_likelihood(picture, picture[background])
    return ratio.clip(-COLOR_TRUST, COLOR_TRUST)


def _log_likelihood(picture: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Density of (H, W, 3) colours under a mixture of Gaussians fitted to (N, 3) samples."""
    from scipy.cluster.vq import kmeans2

    different = len(np.unique(samples.round(2), axis=0))
    if different < COLORS:
        centres, member = samples[:1], np.zeros(len(samples), dtype=int)
    else:
        centres, member = kmeans2(samples, COLORS, minit="++", rng=np.random.default_rng(0))
    densities = []
    for index in range(len(centres)):
        own = samples[member == index]
        if len(own) < 4:
            continue
        covariance = np.cov(own, rowvar=False) + 4e-4 * np.eye(3)
        offset = picture - own.mean(axis=0)
        distance = np.einsum("hwi,ij,hwj->hw", offset, np.linalg.inv(covariance), offset)
        densities.append(np.log(len(own) / len(samples)) - 0.5 * (distance + np.linalg.slogdet(covariance)[1]))
    return np.logaddexp.reduce(densities, axis=0).clip(-30, None) if densities else np.zeros(picture.shape[:2])


def _cut(picture: np.ndarray, belief: np.ndarray) -> np.ndarray:
    """The two-part division of the pixels that agrees best with `belief` and prefers to run along edges."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    height, width = belief.shape
    pixels = np.arange(height * width).reshape(height, width)
    neighbours = [
        (pixels[:, :-1], pixels[:, 1:], 1.0),
        (pixels[:-1], pixels[1:], 1.0),
        (pixels[:-1, :-1], pixels[1:, 1:], 2**-0.5),
        (pixels[:-1, 1:], pixels[1:, :-1], 2**-0.5),
    ]
    colors = picture.reshape(-1, 3)
    squared = [((colors[a.ravel()] - colors[b.ravel()]) ** 2).sum(axis=1) for a, b, _ in neighbours]
    contrast = 1 / (2 * np.concatenate(squared).mean() + 1e-9)
    source, sink = height * width, height * width + 1
    heads, tails, capacities = [], [], []
    for (a, b, weight), difference in zip(neighbours, squared, strict=True):
        capacity = SMOOTHNESS * weight * np.exp(-contrast * difference)
        for first, second in ((a, b), (b, a)):
            heads.append(first.ravel()), tails.append(second.ravel()), capacities.append(capacity)
    flat = belief.ravel()
    for first, second, capacity in (
        (np.full_like(flat, source, dtype=int), pixels.ravel(), flat),
        (pixels.ravel(), np.full_like(flat, sink, dtype=int), -flat),
    ):
        heads.append(first), tails.append(second), capacities.append(capacity.clip(0, None))
    whole = (np.concatenate(capacities) * UNITS).astype(np.int32)
    graph = coo_matrix((whole, (np.concatenate(heads), np.concatenate(tails))), shape=(sink + 1, sink + 1)).tocsr()
    residual = graph - maximum_flow(graph, source, sink).flow
    residual.eliminate_zeros()
    reached = np.zeros(sink + 1, dtype=bool)
    reached[breadth_first_order(residual, source, return_predecessors=False)] = True
    return reached[:source].reshape(height, width)
