"""The parts network: the person's alpha, and the parts of the face, on pictures whose right answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slotid_core.reference.faces.face import box_of
from slotid_core.reference.portrait.looks import looks_of, openness, rest
from slotid_core.reference.portrait.parts import (
    BROWS,
    EYES,
    HAIR,
    NONE,
    SIDE,
    SKIN,
    WEIGHTS,
    cut_square,
    find_face_parts,
    find_parts,
    placed,
    square_around,
)
from slotid_core.toy_world.person import HELD_OUT_FROM, sample_person
from slotid_core.toy_world.render import draw_parts, head_boxes, portrait_motion, reference_motion
from slotid_core.toy_world.scene import sample_scene

SIZE = 256


def drawn(number: int, frames: int = 9):
    person = sample_person(HELD_OUT_FROM + 800 + number)
    scene, motion = reference_motion(person, 60 + number, 33)
    motion = motion.frames(0, frames)
    pictures, parts = draw_parts([person], [scene], [motion], SIZE)
    return pictures[0], parts[0], [box_of(box) for box in head_boxes(scene, motion, SIZE)]


def iou(first: torch.Tensor, second: torch.Tensor) -> float:
    return ((first & second).sum() / (first | second).sum().clamp(min=1)).item()


@pytest.mark.parametrize("number", range(6))
def test_drawn_people_are_cut_out_along_their_outline(number):
    pictures, parts, boxes = drawn(number, 2)
    found = find_parts(pictures[:1], boxes[:1])
    assert iou(found.alpha[0] > 0.5, parts[0, ..., 0] < 0.5) > 0.95
    for part, truth in ((HAIR, parts[0, ..., 7] > 0.5), (SKIN, parts[0, ..., 6] > 0.5)):
        if truth.float().mean() > 0.01:  # some are bald
            assert iou(found.parts[0, part] > 0.5, truth) > 0.7


def test_alpha_is_soft_at_the_edge_and_certain_elsewhere():
    pictures, _, boxes = drawn(0, 1)
    alpha = find_parts(pictures, boxes).alpha[0]
    steps = (alpha[:, 1:] - alpha[:, :-1]).abs()
    assert alpha.min() >= 0 and alpha.max() <= 1
    assert ((alpha > 0.05) & (alpha < 0.95)).float().mean() < 0.08
    assert 0.05 < steps.max() < 0.9  # an edge, but no stair from 0 to 1 in one pixel


@pytest.mark.parametrize("number", range(6))
def test_shut_eyes_have_no_eye_pixels(number):
    person = sample_person(HELD_OUT_FROM + 820 + number)
    scene, rest = sample_scene(number), portrait_motion()[1]
    motions = [replace(rest, eye_open=np.full(1, opening)) for opening in (0.0, 1.0)]
    pictures, _ = draw_parts([person] * 2, [scene] * 2, motions, SIZE)
    boxes = [box_of(head_boxes(scene, rest, SIZE)[0])] * 2
    shut, wide = find_face_parts(pictures[:, 0], boxes)[:, EYES].sum(dim=(1, 2))
    assert shut < 0.35 * wide


def test_parts_are_probabilities_and_nothing_lies_outside_of_what_was_looked_at():
    frame = torch.rand(1, 90, 400, 3)
    found = find_parts(frame, [(40.0, 20.0, 80.0, 60.0)])
    assert found.alpha.shape == (1, 90, 400) and found.parts.shape == (1, 7, 90, 400)
    assert torch.allclose(found.parts.sum(dim=1), torch.ones(1, 90, 400), atol=1e-4)
    assert (found.alpha[:, :, 200:] == 0).all() and (found.parts[:, NONE, :, 200:] == 1).all()


@given(
    height=st.integers(40, 500),
    width=st.integers(40, 500),
    left=st.floats(-50, 450),
    top=st.floats(-50, 450),
    side=st.floats(8, 400),
    widest=st.sampled_from([1.5, 3.2]),
)
@settings(max_examples=40, deadline=None)
def test_a_square_goes_back_to_where_it_was_cut(height, width, left, top, side, widest):
    square = square_around((left, top, left + side, top + side), height, width, widest)
    assert square[2] <= max(height, width) + 1e-6
    ramp = torch.linspace(0, 1, width).expand(height, -1)
    frame = torch.stack([ramp] * 3, dim=-1)
    small = cut_square(frame, square)
    assert small.shape == (3, SIDE, SIDE) and small.min() >= 0 and small.max() <= 1
    back = placed(small[:1], square, height, width)[0]
    columns = torch.arange(width) + 0.5
    inside = (columns > square[0] + 2 + square[2] / SIDE) & (columns < square[0] + square[2] - 2 - square[2] / SIDE)
    seen = back[height // 2, inside]
    if len(seen) and square[1] < height // 2 < square[1] + square[2]:
        tolerance = 2 * max(1.0, square[2] / SIDE) / width
        assert (seen - ramp[height // 2, inside]).abs().max() < tolerance + 1e-3


def face_parts(eye_height: float, iris: float = 0.0, mouth: float = 4.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Parts (7, 100, 100) and luminance of a face made of ellipses; `iris` in halves of an eye's width."""
    y, x = torch.meshgrid(torch.arange(100.0), torch.arange(100.0), indexing="ij")
    parts, light = torch.zeros(7, 100, 100), torch.full((100, 100), 0.8)
    for centre in (35.0, 65.0):
        if eye_height > 0:
            eye = ((x - centre) / 8) ** 2 + ((y - 40) / eye_height) ** 2 < 1
            parts[EYES][eye] = 1
            light[eye & (((x - centre - 8 * iris) / 3) ** 2 + ((y - 40) / 3) ** 2 < 1)] = 0.1
    parts[4][((x - 50) / 5) ** 2 + ((y - 55) / 8) ** 2 < 1] = 1
    parts[3][((x - 50) / 12) ** 2 + ((y - 75) / mouth) ** 2 < 1] = 1
    parts[NONE] = 1 - parts[1:].sum(dim=0)
    assert parts[BROWS].sum() == 0
    return parts, light


def test_opening_gaze_and_mouth_are_read_from_the_parts():
    wide, half, shut = (looks_of(*face_parts(height), scale=75) for height in (4.0, 2.0, 0.0))
    assert wide.opening > half.opening > shut.opening == 0
    eyes_open = openness(np.array([wide.opening] * 4 + [half.opening, shut.opening]))
    assert eyes_open[0] == 1 and 0 < eyes_open[4] < 0.5 and eyes_open[5] == 0
    ahead, aside = (looks_of(*face_parts(4.0, iris), scale=75).gaze for iris in (0.0, 0.5))
    assert ahead < 0.1 < 0.35 < aside
    mouths = np.array([looks_of(*face_parts(4.0, 0.0, height), scale=75).mouth for height in (4.0, 4.0, 4.0, 12.0)])
    assert rest(mouths, np.zeros(4))[0] == 1 and rest(mouths, np.zeros(4))[3] == 0
    assert rest(mouths, np.full(4, np.nan))[0] == 1
    assert wide.eyes_seen > 0.9 and shut.eyes_seen < 0.1
    assert np.allclose(wide.landmarks[:3], [[35.5, 40.5], [65.5, 40.5], [50.5, 55.5]], atol=1.0)


def test_a_closed_smile_is_not_at_rest():
    person, scene, still = sample_person(HELD_OUT_FROM + 830), sample_scene(3), portrait_motion()[1]
    smiles = (0.12, 0.12, 0.12, 1.0)
    motions = [replace(still, smile_left=np.full(1, smile), smile_right=np.full(1, smile)) for smile in smiles]
    pictures, _ = draw_parts([person] * 4, [scene] * 4, motions, SIZE)
    boxes = [box_of(head_boxes(scene, still, SIZE)[0])] * 4
    shown = find_face_parts(pictures[:, 0], boxes)
    looks = [
        looks_of(parts, picture[0].mean(dim=-1), boxes[0][2] - boxes[0][0])
        for parts, picture in zip(shown, pictures, strict=True)
    ]
    at_rest = rest(np.array([look.mouth for look in looks]), np.array([look.lift for look in looks]))
    assert at_rest[0] > 0.9 and at_rest[3] < 0.3


def test_the_file_is_small():
    assert WEIGHTS.stat().st_size <= 2e6
