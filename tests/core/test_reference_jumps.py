"""A box that jumps onto a mouth or elsewhere is refused, and a face that moves is not."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proof import examples

from slotid_core.reference.faces.face import Detector, Face, box_of, overlap
from slotid_core.reference.faces.face_clip import make_face_clip
from slotid_core.reference.faces.jumps import without_jumps
from slotid_core.reference.faces.tracking import boxes_for_every_frame, link_faces

EVERY = 3  # frames between two examined ones, as Track Face has it


def walk(rng, count: int) -> dict[int, Face]:
    """A head that sways, comes closer and goes away, seen by a detector whose boxes tremble."""
    frames = EVERY * np.arange(count)
    side = 100 * (1 + 0.25 * np.sin(frames / rng.uniform(20, 60) + rng.uniform(0, 6)))
    x = 300 + 60 * np.sin(frames / rng.uniform(15, 40) + rng.uniform(0, 6))
    y = 200 + 30 * np.sin(frames / rng.uniform(15, 40) + rng.uniform(0, 6))
    side, x, y = (values + rng.normal(0, 2, count) for values in (side, x, y))
    return {
        int(index): Face((x[i] - side[i] / 2, y[i] - side[i] / 2, x[i] + side[i] / 2, y[i] + side[i] / 2))
        for i, index in enumerate(frames)
    }


def mouth(face: Face, rng) -> Face:
    """What a cascade takes for a face: mouth and chin, 0.35 to 0.5 of the face's side."""
    left, _, right, bottom = face.box
    side = (right - left) * rng.uniform(0.35, 0.5)
    x = (left + right) / 2 + rng.normal(0, 0.03) * (right - left)
    return Face((x - side / 2, bottom - side, x + side / 2, bottom))


seeds = st.integers(0, 10**6)


@settings(max_examples=examples(100), deadline=None)
@given(seeds, st.integers(8, 60), st.floats(0, 0.45))
def test_mouths_are_refused_and_no_face_is(seed, count, share):
    rng = np.random.default_rng(seed)
    faces = walk(rng, count)
    wrong = {index for index in faces if rng.random() < share}
    if len(wrong) > 0.45 * count or rng.random() < 0.5:  # half of the time one run instead of single frames
        start = int(rng.integers(0, count))
        wrong = set(sorted(faces)[start : start + min(8, int(share * count))])
    ends = sorted(faces)[:4] + sorted(faces)[-4:]
    wrong -= set(ends)  # there a new scene may begin
    seen = {index: mouth(face, rng) if index in wrong else face for index, face in faces.items()}
    assert set(without_jumps(seen)) == set(faces) - wrong


@settings(max_examples=examples(50), deadline=None)
@given(seeds, st.integers(12, 60))
def test_the_box_of_every_frame_stays_on_the_face(seed, count):
    rng = np.random.default_rng(seed)
    faces = walk(rng, count)
    wrong = {index for index in faces if rng.random() < 0.2} - set(sorted(faces)[-4:])
    seen = {index: [mouth(face, rng) if index in wrong else face] for index, face in faces.items()}
    boxes = boxes_for_every_frame(link_faces(seen)[0], EVERY * count)
    overlaps = [overlap(boxes[index], face.box) for index, face in faces.items()]
    assert np.mean(overlaps) > 0.85 and np.mean(np.array(overlaps) > 0.5) > 0.9


@settings(deadline=None)
@given(seeds, st.integers(1, 40))
def test_a_moving_face_loses_nothing(seed, count):
    faces = walk(np.random.default_rng(seed), count)
    assert without_jumps(faces) == faces
    assert without_jumps({}) == {}


def test_a_moment_elsewhere_is_refused_and_a_new_scene_is_not():
    here, there = Face((100.0, 100, 200, 200)), Face((500.0, 50, 680, 230))
    moment = {3 * i: there if 5 <= i < 8 else here for i in range(20)}
    assert set(without_jumps(moment)) == {3 * i for i in range(20) if not 5 <= i < 8}
    scenes = {3 * i: there if i >= 12 else here for i in range(20)}
    assert without_jumps(scenes) == scenes
    there_and_back = {3 * i: there if 10 <= i < 25 else here for i in range(40)}
    assert without_jumps(there_and_back) == there_and_back
    mouths = {3 * i: Face((130.0, 150, 170, 190)) if i >= 15 else here for i in range(20)}
    assert set(without_jumps(mouths)) == {3 * i for i in range(15)}
    last = {3 * i: there if i == 19 else here for i in range(20)}
    assert set(without_jumps(last)) == {3 * i for i in range(19)}


def test_refused_frames_are_told_in_the_report():
    boxes = {True: (0.3, 0.2, 0.7, 0.6), False: (0.37, 0.33, 0.63, 0.59)}  # the face; a smaller box on its mouth

    def detect(image, smallest):
        return [Face(box_of(share * len(image) for share in boxes[bool(image[2, 2].mean() < 128)]))]

    clip = torch.rand(25, 256, 256, 3, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.4
    clip[:, :8, :8] = 0.0
    clip[9:13, :8, :8] = 1.0  # by this corner the detector takes the mouth
    found = make_face_clip(clip, Detector("given", detect, 256), size=64)
    assert found.report["refused_frames"] == [9, 12]
    assert found.report["detection_rate"] == pytest.approx(7 / 9)
    assert any("frames 9, 12" in note for note in found.report["notes"])
    assert found.boxes is not None and np.allclose(
        found.boxes[12], [0.3 * 256, 0.2 * 256, 0.7 * 256, 0.6 * 256], atol=0.5
    )
