"""What YuNet's networks put out, as faces.

Two generations are published, and the names of their outputs tell them apart. Sizes are pixels of the network's input.

- Since 2023, without anchors: `cls`, `obj`, `bbox` and `kps` for each of three grids. Offsets count in cells of the
  grid from a cell's upper left corner, sizes are logarithms of cells.
- Of 2022, with anchors: `loc`, `conf` and `iou`, one row for each square anchor of four grids, all grids in one list.
  Offsets count in anchors' sides times `VARIANCES`, as in SSD (Liu and others 2016, section 2.2).

The score is the geometric mean of "a face" and "a well-placed box". Source: W. Wu, H. Peng, S. Yu, YuNet: A tiny
millisecond-level face detector, 2023; formats as OpenCV's objdetect module reads them.
"""

import numpy as np

from ...errors import SlotIDError
from .face import overlap

STRIDES = (8, 16, 32)
ANCHORS = {8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)}  # cell -> sides, in pixels
VARIANCES = (0.1, 0.2)
SAME_FACE = 0.3  # intersection over union above which of two boxes the weaker is dropped, OpenCV's default
WITHOUT_ANCHORS = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES)
WITH_ANCHORS = ("loc", "conf", "iou")


def layout_of(names: list[str]) -> tuple[str, ...]:
    """Which generation has outputs of these names.

    Raises:
        SlotIDError: neither has.
    """
    for layout in (WITHOUT_ANCHORS, WITH_ANCHORS):
        if set(layout) <= set(names):
            return layout
    raise SlotIDError(f"its outputs are {', '.join(names)}, which no published YuNet has")


def rows_of(outputs: dict[str, np.ndarray], layout: tuple[str, ...], size: tuple[int, int], least: float) -> np.ndarray:
    """(N, 15) of all boxes with at least that score: left, top, width, height, five landmarks' x and y, score.

    Args:
        size: height and width of the network's input.
    """
    rows = _rows_with_anchors(outputs, size) if layout == WITH_ANCHORS else _rows_without_anchors(outputs, size)
    return rows[rows[:, 14] >= least]


def without_doubles(rows: np.ndarray) -> list[np.ndarray]:
    """The strongest of each group of overlapping boxes, strongest first."""
    kept: list[np.ndarray] = []
    for row in rows[np.argsort(-rows[:, 14], kind="stable")]:
        if all(overlap(_corners(row), _corners(other)) <= SAME_FACE for other in kept):
            kept.append(row)
    return kept


def _corners(row: np.ndarray) -> np.ndarray:
    return np.concatenate([row[:2], row[:2] + row[2:4]])


def _rows_without_anchors(outputs: dict[str, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    found = []
    for stride in STRIDES:
        rows, columns = size[0] // stride, size[1] // stride
        down, across = np.mgrid[:rows, :columns].reshape(2, -1)
        cells = np.stack([across, down], axis=1)  # (n, 2), in the order of the outputs
        is_face, is_placed, box, points = (
            outputs[f"{kind}_{stride}"].reshape(len(cells), -1) for kind in ("cls", "obj", "bbox", "kps")
        )
        sides = np.exp(box[:, 2:]) * stride
        corner = (cells + box[:, :2]) * stride - sides / 2
        places = ((points.reshape(-1, 5, 2) + cells[:, None]) * stride).reshape(-1, 10)
        found.append(np.concatenate([corner, sides, places, _score(is_face, is_placed)], axis=1))
    return np.concatenate(found)


def _rows_with_anchors(outputs: dict[str, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    anchors = np.concatenate([_anchors(size, stride, sides) for stride, sides in ANCHORS.items()])  # (n, 3)
    places, side = anchors[:, :2], anchors[:, 2:]
    offsets = outputs["loc"].reshape(len(anchors), 14)
    sides = side * np.exp(offsets[:, 2:4] * VARIANCES)
    corner = places + offsets[:, :2] * VARIANCES[0] * side - sides / 2
    points = places[:, None] + offsets[:, 4:].reshape(-1, 5, 2) * VARIANCES[0] * side[:, None]
    score = _score(outputs["conf"].reshape(len(anchors), 2)[:, 1:], outputs["iou"].reshape(len(anchors), 1))
    return np.concatenate([corner, sides, points.reshape(-1, 10), score], axis=1)


def _anchors(size: tuple[int, int], stride: int, sides: tuple[int, ...]) -> np.ndarray:
    """(n, 3) of one grid, row by row: x and y of the middle, side."""
    down, across, side = np.meshgrid(np.arange(size[0] // stride), np.arange(size[1] // stride), sides, indexing="ij")
    return np.stack([(across + 0.5) * stride, (down + 0.5) * stride, side], axis=-1).reshape(-1, 3)


def _score(is_face: np.ndarray, is_placed: np.ndarray) -> np.ndarray:
    return np.sqrt(is_face.clip(0, 1) * is_placed.clip(0, 1))
