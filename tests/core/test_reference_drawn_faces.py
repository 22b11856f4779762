"""The finder of drawn people: whom it finds, whom it leaves to other detectors."""

import numpy as np
import pytest
import torch

from slotid_core.reference.faces.detector import find_detector
from slotid_core.reference.faces.drawn_faces import CERTAIN, drawn_faces, drawn_faces_first, find_drawn_faces
from slotid_core.reference.faces.face import Detector, Face, overlap
from slotid_core.reference.faces.face_clip import make_face_clip
from slotid_core.toy_world.landmarks import face_landmarks
from slotid_core.toy_world.person import HELD_OUT_FROM, sample_person
from slotid_core.toy_world.render import draw, head_boxes, reference_motion, render_reference

SIZE = 256


def clip_of(number: int):
    person = sample_person(HELD_OUT_FROM + 900 + number)
    scene, motion = reference_motion(person, 40 + number, 33)
    return person, scene, motion, draw([person], [scene], [motion], SIZE)[0]


def pixels(frame: torch.Tensor) -> np.ndarray:
    return (frame * 255).round().byte().numpy()


@pytest.mark.parametrize("number", range(4))
def test_every_head_is_found_where_it_is_drawn(number):
    person, scene, motion, frames = clip_of(number)
    boxes, points = head_boxes(scene, motion, SIZE), face_landmarks(person, scene, motion, SIZE)
    distances = []
    for index in range(0, len(frames), 4):
        faces = drawn_faces(pixels(frames[index]))
        assert len(faces) == 1
        side = boxes[index, 2] - boxes[index, 0]
        assert overlap(faces[0].box, boxes[index]) > 0.8
        assert faces[0].landmarks is not None
        distances.append(np.hypot(*(faces[0].landmarks - points[index]).T).mean() / side)
    assert np.mean(distances) < 0.07 and max(distances) < 0.15


@pytest.mark.parametrize("shape", [(256, 455), (455, 256), (97, 131)])
def test_pictures_of_any_shape_give_boxes_in_their_own_pixels(shape):
    person = sample_person(HELD_OUT_FROM + 910)
    height, width = shape
    side = min(shape)
    head = render_reference(person, 3, 5, side)[0]
    picture = torch.full((height, width, 3), 0.4)
    top, left = (height - side) // 2, (width - side) // 2
    picture[top : top + side, left : left + side] = head
    alone, placed = drawn_faces(pixels(head)), drawn_faces(pixels(picture))
    assert len(placed) == 1
    moved = np.array(alone[0].box) + np.array([left, top, left, top])
    assert overlap(placed[0].box, moved) > 0.8


def test_auto_finds_drawn_people_and_the_crop_is_steady():
    _, _, _, frames = clip_of(5)
    found = make_face_clip(frames, find_detector(), size=128)
    assert found.report["detection_rate"] == 1.0
    assert found.report["people"] == 1
    assert "drawn faces" in found.report["detector"]


def test_other_pictures_go_to_the_other_detector():
    asked = []

    def other(image, smallest):
        asked.append(image.shape)
        return [Face((1.0, 2.0, 30.0, 40.0))]

    detector = drawn_faces_first(Detector("other", other, working_side=64))
    assert detector.working_side == 64
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert detector.detect(noise, 8)[0].box == (1.0, 2.0, 30.0, 40.0)
    _, _, _, frames = clip_of(6)
    assert drawn_faces(pixels(frames[0]), CERTAIN)
    assert overlap(detector.detect(pixels(frames[0]), 8)[0].box, drawn_faces(pixels(frames[0]))[0].box) == 1.0
    assert asked == [(64, 64, 3)]


def test_a_photograph_shows_no_drawn_person():
    data = pytest.importorskip("skimage.data")
    assert not drawn_faces(data.astronaut(), CERTAIN)
    assert not drawn_faces(data.astronaut()[:260, 90:350], CERTAIN)


def test_small_heads_are_no_faces():
    _, _, _, frames = clip_of(7)
    detector = find_drawn_faces()
    face = drawn_faces(pixels(frames[0]))[0]
    side = face.box[2] - face.box[0]
    assert detector.detect(pixels(frames[0]), int(side) - 2)
    assert not detector.detect(pixels(frames[0]), int(side) + 3)
