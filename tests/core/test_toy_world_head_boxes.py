"""Head boxes against the drawing itself: what changes with somebody's eyes and skin is where the box says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from slotid_core.toy_world.person import sample_person
from slotid_core.toy_world.render import head_boxes, reference_motion, render_reference

SIZE, FRAMES = 96, 9


def changed(person, seed, **other) -> torch.Tensor:
    """(T, H, W) true where the drawing differs when the person does."""
    one, two = (render_reference(p, seed, FRAMES, SIZE) for p in (person, replace(person, **other)))
    return (one - two).abs().amax(dim=3) > 0.02


@pytest.mark.parametrize("seed", range(6))
def test_eyes_lie_in_the_middle_and_skin_fills_the_box(seed):
    person = replace(sample_person(seed), hair_style=6, neck_tattoo=0, glasses=0, skin=0.0, sway=1.0)
    boxes = head_boxes(*reference_motion(person, seed, FRAMES), SIZE)
    assert boxes.shape == (FRAMES, 4)
    eyes = changed(person, seed, eye_size=1.0 - round(person.eye_size))
    skin = changed(person, seed, skin=1.0)
    for box, eye, face in zip(boxes, eyes, skin, strict=True):
        rows, columns = np.nonzero(eye.numpy())
        assert len(rows) and box[1] < rows.mean() < box[3] and box[0] < columns.mean() < box[2]
        rows, _ = np.nonzero(face.numpy())
        assert abs(rows.min() - max(0, box[1])) < 0.05 * SIZE  # the top of a bald head
