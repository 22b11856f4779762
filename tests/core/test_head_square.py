"""The head on a white square, against Stand-In's own arithmetic."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from slotid_core.errors import SlotIDError
from slotid_core.reference.faces.detector import find_detector
from slotid_core.reference.faces.face import Detector, Face
from slotid_core.reference.portrait.head_square import head_square, square_around
from slotid_core.toy_world.person import HELD_OUT_FROM, sample_person
from slotid_core.toy_world.render import draw, reference_motion


def detector(*boxes, landmarks=None) -> Detector:
    """One that sees faces at these boxes of the picture."""

    def detect(pixels: np.ndarray, smallest: int) -> list[Face]:
        return [Face(box) for box in boxes]

    return Detector("somebody's eye", detect, working_side=200)


def authors_square(box, height, width) -> tuple[int, int, int, int]:
    """The crop of `FaceProcessor.process`, written out again: rounding towards zero, then floor divisions."""
    x1, y1, x2, y2 = (int(value) for value in box)
    if x1 <= 10 and y1 <= 10 and x2 >= width - 10 and y2 >= height - 10:
        return 0, 0, width, height
    cx, cy, side = (x1 + x2) // 2, (y1 + y2) // 2, int(max(x2 - x1, y2 - y1) * 1.5)
    return max(cx - side // 2, 0), max(cy - side // 2, 0), min(cx + side // 2, width), min(cy + side // 2, height)


def test_the_square_is_the_authors():
    generator = np.random.default_rng(4)
    for _ in range(500):
        width, height = generator.integers(40, 900, 2)
        left, right = np.sort(generator.uniform(0, width, 2))
        top, bottom = np.sort(generator.uniform(0, height, 2))
        box = (float(left), float(top), float(right) + 1, float(bottom) + 1)
        assert square_around(box, int(height), int(width)) == authors_square(box, height, width)
    assert square_around((5, 8, 395, 292), 300, 400) == (0, 0, 400, 300)


def picture(height=200, width=300):
    """Left half dark, right half grey."""
    pixels = torch.full((1, height, width, 3), 0.5)
    pixels[:, :, : width // 2] = 0.1
    return pixels


def everywhere(height=200, width=300):
    return torch.ones(1, height, width)


def test_a_face_at_the_border_gets_white_on_both_sides():
    """A box of 80 around (40, 100): 120 high, and 100 wide as the picture ends; white is put on both sides of it."""
    found = head_square(picture(), detector((0, 60, 80, 140)), 120, mask=everywhere())
    assert found.report["square"] == [0, 40, 100, 160] and found.report["face_pixels"] == 80
    row = found.picture[0, 60, :, 0]
    assert (row[:9] == 1).all() and (row[-9:] == 1).all() and torch.allclose(row[11:109], torch.tensor(0.1), atol=1e-5)
    assert found.picture.shape == (1, 120, 120, 3) and found.mask.shape == (1, 120, 120)
    assert found.mask[0, 60, 0] == 0 and found.mask[0, 60, 60] == 1


def test_behind_the_person_is_white():
    mask = everywhere()
    mask[:, :, 150:] = 0
    found = head_square(picture(), detector((110, 60, 190, 140)), 512, mask=mask)
    assert found.report["square"] == [90, 40, 210, 160] and found.report["background"] == "mask input"
    row = found.picture[0, 256, :, 0]
    assert torch.allclose(row[:240], torch.tensor(0.1), atol=1e-5) and (row[270:] == 1).all()
    assert "120 pixels of 512" in found.report["notes"][0]


def test_the_largest_face_is_taken_and_the_others_are_said():
    found = head_square(picture(), detector((200, 20, 240, 60), (20, 20, 120, 120)), 512, mask=everywhere())
    assert found.report["face_pixels"] == 100 and "2 faces were found" in found.report["notes"][0]


def test_without_a_face_it_is_an_error_or_the_whole_picture():
    nobody = detector()
    with pytest.raises(SlotIDError, match="No face was found"):
        head_square(picture(), nobody, 512)
    found = head_square(picture(), nobody, 300, on_missing="skip", mask=everywhere())
    assert found.report["square"] == [0, 0, 300, 200] and "whole picture" in found.report["notes"][0]
    assert (found.picture[0, :49] == 1).all() and (found.picture[0, -49:] == 1).all()
    assert torch.allclose(found.picture[0, 51:249], picture()[0, 1:199], atol=1e-5)


def test_without_a_mask_the_person_is_cut_out():
    """A drawn person before two backgrounds: the same on the white square, and white beside the head."""
    person = sample_person(HELD_OUT_FROM + 40)
    scene, motion = reference_motion(person, 7, 5)
    squares = []
    for background in (0, 3):
        pixels = draw([person], [replace(scene, background=background)], [motion.frames(0, 1)], 512)[0, :1].float()
        found = head_square(pixels, find_detector(choice="drawn"), 512)
        assert found.report["background"] == "parts network" and found.report["faces"] == 1
        squares.append(found)
    agreed = torch.minimum(squares[0].mask, squares[1].mask) > 0.9
    difference = (squares[0].picture - squares[1].picture).abs().amax(-1)
    assert 0.2 < agreed.float().mean() < 0.95 and difference[agreed].mean() < 0.05
    outside = torch.maximum(squares[0].mask, squares[1].mask) < 0.01
    assert outside.float().mean() > 0.02 and squares[0].picture[outside].min() > 0.98


@pytest.mark.parametrize(("pixels", "said"), [(picture().repeat(2, 1, 1, 1), "One picture"), (picture()[0], "shape")])
def test_other_than_one_picture_is_refused(pixels, said):
    with pytest.raises(SlotIDError, match=said):
        head_square(pixels, detector(), 512)
