"""Decoding of both generations of YuNet's outputs, against outputs that are encoded here from known faces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slotid_core.errors import SlotIDError
from slotid_core.reference.faces import yunet_format as formats

SIZE = (160, 224)  # height, width of the network's input


def face(rng) -> np.ndarray:
    """A row as decoding should give it: left, top, width, height, five landmarks, score."""
    width, height = rng.uniform(20, 120, 2)
    left, top = rng.uniform(0, SIZE[1] - width), rng.uniform(0, SIZE[0] - height)
    points = (np.array([left, top]) + rng.uniform(0, 1, (5, 2)) * [width, height]).ravel()
    return np.array([left, top, width, height, *points, rng.uniform(0.7, 1)])


def without_anchors(row: np.ndarray, stride: int) -> dict[str, np.ndarray]:
    """The outputs of 2023 for one face, whose middle decides the cell."""
    outputs = {}
    for other in formats.STRIDES:
        cells = (SIZE[0] // other) * (SIZE[1] // other)
        for kind, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            outputs[f"{kind}_{other}"] = np.zeros((1, cells, width), np.float32)
    middle = row[:2] + row[2:4] / 2
    across, down = (middle / stride).astype(int)
    cell = down * (SIZE[1] // stride) + across
    corner = np.array([across, down])
    outputs[f"cls_{stride}"][0, cell], outputs[f"obj_{stride}"][0, cell] = 1.0, row[14] ** 2
    outputs[f"bbox_{stride}"][0, cell] = [*(middle / stride - corner), *np.log(row[2:4] / stride)]
    outputs[f"kps_{stride}"][0, cell] = (row[4:14].reshape(5, 2) / stride - corner).ravel()
    return outputs


def with_anchors(row: np.ndarray, stride: int) -> dict[str, np.ndarray]:
    """The outputs of 2022 for one face, at the last anchor of the cell that holds its middle."""
    first, count = 0, 0
    for other, sides in formats.ANCHORS.items():
        first = count if other == stride else first
        count += (SIZE[0] // other) * (SIZE[1] // other) * len(sides)
    sides, middle = formats.ANCHORS[stride], row[:2] + row[2:4] / 2
    across, down = np.minimum((middle / stride).astype(int), [SIZE[1] // stride - 1, SIZE[0] // stride - 1])
    index = first + (down * (SIZE[1] // stride) + across) * len(sides) + len(sides) - 1
    anchor, side = (np.array([across, down]) + 0.5) * stride, sides[-1]
    outputs = {"loc": np.zeros((count, 14)), "conf": np.zeros((count, 2)), "iou": np.zeros((count, 1))}
    outputs["loc"][index, :2] = (middle - anchor) / (0.1 * side)
    outputs["loc"][index, 2:4] = np.log(row[2:4] / side) / [0.1, 0.2]
    outputs["loc"][index, 4:] = ((row[4:14].reshape(5, 2) - anchor) / (0.1 * side)).ravel()
    outputs["conf"][index], outputs["iou"][index] = [0.0, 1.0], row[14] ** 2
    return outputs


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(formats.STRIDES))
def test_what_is_encoded_is_decoded(seed, stride):
    row = face(np.random.default_rng(seed))
    for encode in (without_anchors, with_anchors):
        outputs = encode(row, stride)
        found = formats.rows_of(outputs, formats.layout_of(list(outputs)), SIZE, 0.6)
        assert found.shape == (1, 15) and np.abs(found[0] - row).max() < 1e-3
        assert len(formats.rows_of(outputs, formats.layout_of(list(outputs)), SIZE, row[14] + 0.01)) == 0


def test_of_overlapping_boxes_the_strongest_stays():
    rng = np.random.default_rng(0)
    row = face(rng)
    weaker, elsewhere = row.copy(), row.copy()
    weaker[:2] += 2
    weaker[14], elsewhere[14] = 0.7, 0.71
    elsewhere[:2] += 500
    row[14] = 0.9
    kept = formats.without_doubles(np.stack([weaker, elsewhere, row]))
    assert [one[14] for one in kept] == [0.9, 0.71]
    assert formats.without_doubles(np.zeros((0, 15))) == []


def test_other_outputs_are_named():
    with pytest.raises(SlotIDError, match="scores, boxes"):
        formats.layout_of(["scores", "boxes"])
