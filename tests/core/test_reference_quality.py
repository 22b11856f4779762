"""What the report card says of clips with a known fault, and how people are distinguished and chosen."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given
from hypothesis import strategies as st
from typed import present

from slotid_core.reference.decode.clip import shrink
from slotid_core.reference.faces.face import Detector, Face
from slotid_core.reference.faces.face_clip import make_face_clip
from slotid_core.reference.faces.pose import MODEL, head_angles
from slotid_core.reference.faces.tracking import link_faces
from slotid_core.reference.report.quality import covered_frames, judge_reference, motion_energy
from slotid_core.reference.report.report_card import draw_card

SIDE = 128
BOX = (0.28, 0.2, 0.72, 0.7)  # of the astronaut's portrait
GIVEN = Detector("given", lambda image, smallest: [Face(tuple(share * len(image) for share in BOX))], SIDE)


@pytest.fixture(scope="module")
def lively():
    """The astronaut's portrait (NASA, public domain) as it turns a little, speaks and comes closer: (65, S, S, 3)."""
    pytest.importorskip("skimage")
    from skimage.data import astronaut

    picture = torch.from_numpy(shrink(astronaut()[:260, 90:350], SIDE)).float() / 255
    columns = torch.linspace(-1, 1, SIDE)
    rows = torch.linspace(-1, 1, SIDE)[:, None].expand(SIDE, SIDE)
    frames = []
    for index in range(65):
        turn = 0.25 * np.sin(index / 5)
        across = (columns + turn * (1 - columns**2))[None].expand(SIDE, SIDE)  # the middle moves, the edge stays
        grid = torch.stack([across, rows], dim=-1)[None]
        frames.append(functional.grid_sample(picture.permute(2, 0, 1)[None], grid, align_corners=True)[0])
    return torch.stack(frames).permute(0, 2, 3, 1).clamp(0, 1)


def faults(clip, **reports) -> set[str]:
    return {item.fact for item in judge_reference(clip, GIVEN, **reports).advice}


def test_a_lively_sharp_clip_lacks_nothing_and_each_fault_is_named(lively):
    quality = judge_reference(lively, GIVEN)
    assert quality.facts["verdict"] == "good" and quality.advice == ()
    blurred = functional.avg_pool2d(lively.permute(0, 3, 1, 2), 7, 1, 3).permute(0, 2, 3, 1)
    assert faults(blurred) == {"sharpness"}
    assert "exposure" in faults(lively * 0.15) and "exposure" in faults(lively * 0.2 + 0.8)
    shaded = lively.clone()
    shaded[:, :, : SIDE // 2] *= 0.4
    assert "side_light" in faults(shaded)
    assert "change" in faults(lively[:1].expand(65, -1, -1, -1))
    assert faults(lively[:33]) == {"frames"}
    assert "people" in faults(lively, tracking={"people": 2, "detection_rate": 1.0, "face_pixels": 200.0})
    assert "face_pixels" in faults(lively, tracking={"face_pixels": 60.0})
    assert "face_seen" in faults(lively, tracking={"detection_rate": 0.5})


def test_every_fault_has_a_remedy_and_the_report_is_json(lively):
    quality = judge_reference(torch.zeros(9, SIDE, SIDE, 3), GIVEN, window={"start_seconds": 1.0, "end_seconds": 2.0})
    report = json.loads(json.dumps(quality.report))
    assert report["verdict"] == "poor" and len(report["missing"]) == len(report["film_instead"]) >= 3
    assert report["window"]["start_seconds"] == 1.0
    card = draw_card(torch.zeros(9, SIDE, SIDE, 3), quality)
    longer = draw_card(lively, judge_reference(lively, GIVEN))
    assert card.shape[0] == 1 and card.shape[2] == longer.shape[2] == 960 and card.shape[1] > longer.shape[1]


def test_a_hand_that_passes_is_seen_and_a_turning_head_is_not_taken_for_one(lively):
    still = lively[:1].expand(65, -1, -1, -1).clone()
    still[22:30, 74:90, 42:86] = torch.tensor([0.1, 0.5, 0.2])
    assert judge_reference(lively, GIVEN).facts["covered"] == 0
    assert judge_reference(still, GIVEN).facts["covered"] > 0.05
    assert covered_frames(np.ones((1, 256))) == []


def test_motion_energy_is_the_mean_change_in_the_face(lively):
    clip = torch.zeros(5, 64, 64, 3)
    clip[1::2, 16:48, 16:48] = 0.5
    assert motion_energy(clip, (16, 16, 48, 48)) == pytest.approx(50)
    assert motion_energy(clip, (0, 0, 8, 8)) == 0 == motion_energy(clip[:1], (0, 0, 64, 64))


@given(st.floats(-50, 50), st.floats(-35, 35), st.floats(-30, 30), st.floats(5, 200), st.floats(-500, 500))
def test_head_angles_undo_the_rotation_that_made_the_landmarks(yaw, pitch, roll, scale, shift):
    """Rotations written out one by one: about y (yaw), then x (pitch), then z (roll), in picture coordinates."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    points = (about_z @ about_x @ about_y @ MODEL.T).T[:, :2] * scale + shift
    found = head_angles(points)
    nose = about_z @ about_x @ about_y @ np.array([0, 0, -1.0])  # where the face looks, z away from the camera
    assert found[0] == pytest.approx(np.degrees(np.arctan2(nose[0], -nose[2])), abs=0.5)
    assert found[1] == pytest.approx(np.degrees(np.arcsin(-nose[1])), abs=0.5)
    if abs(yaw) < 1 and abs(pitch) < 1:
        assert found[2] == pytest.approx(roll, abs=1.5)


def test_a_face_seen_inside_a_face_is_no_second_person():
    head, mouth = (100.0, 50.0, 200.0, 150.0), (130.0, 100.0, 175.0, 145.0)
    detections = {index: [Face(head)] + ([Face(mouth)] if index % 2 else []) for index in range(0, 30)}
    detections[10] = [Face(mouth)]
    tracks = link_faces(detections)
    assert len(tracks) == 1 and all(face.box == head for face in tracks[0].faces.values())
    neighbour = (190.0, 50.0, 290.0, 150.0)  # a tenth of it behind the first
    both = link_faces({index: [Face(head), Face(neighbour)] for index in range(9)})
    assert len(both) == 2


def test_who_comes_back_to_the_same_place_is_the_same_person():
    here, there = (100.0, 50.0, 200.0, 150.0), (500.0, 60.0, 600.0, 160.0)
    seen = {index: [Face(here)] if index < 10 or index > 70 else [] for index in range(100)}
    assert len(link_faces(seen, min_share=0.0)) == 1
    moved = {index: [Face(here)] if index < 10 else [Face(there)] if index > 70 else [] for index in range(100)}
    assert len(link_faces(moved, min_share=0.0)) == 2


def test_of_two_equal_faces_the_leftmost_is_first_whatever_the_order():
    left, right = (10.0, 50.0, 110.0, 150.0), (300.0, 48.0, 402.0, 150.0)
    for order in ((left, right), (right, left)):
        tracks = link_faces({index: [Face(box) for box in order] for index in range(9)})
        assert [track.faces[0].box[0] for track in tracks] == [10.0, 300.0]


def test_cuts_and_absence_are_told_in_the_tracking_report(lively):
    clip = torch.cat([lively[:20], 1 - lively[:45].flip(1)])
    clip[:20, :12, :12], clip[20:, :12, :12] = 1.0, 0.0  # by this corner the detector knows where the person is

    def detect(image, smallest):
        return GIVEN.detect(image, smallest) if image[2, 2].mean() > 128 else []

    found = make_face_clip(clip, Detector("first scene", detect, SIDE), size=64, every=2)
    assert found.report["detection_rate"] == pytest.approx(10 / 33)
    assert any("scene changes at frame 20" in note for note in found.report["notes"])
    assert any("away from frame 18 to 64" in note for note in found.report["notes"])


def test_without_embeddings_a_picture_chooses_by_looks_and_says_that_it_guesses(lively):
    picture = lively[0]
    other = picture.flip(0).flip(-1)
    clip = torch.full((5, SIDE, 3 * SIDE, 3), 0.5)
    clip[:, :, :SIDE], clip[:, :, 2 * SIDE :] = other, picture

    def detect(image, smallest):
        scale, width = len(image) / SIDE, image.shape[1]
        boxes = [tuple(share * SIDE * scale for share in BOX)]
        if width > 2 * len(image):
            boxes.append(
                tuple(value + (2 * SIDE * scale if side % 2 == 0 else 0) for side, value in enumerate(boxes[0]))
            )
        return [Face(box) for box in boxes]

    detector = Detector("two", detect, SIDE)
    for wanted, left in ((picture, 2 * SIDE), (other, 0)):
        found = make_face_clip(clip, detector, size=64, subject_image=wanted[None])
        assert left < present(found.boxes)[0, 0] < left + SIDE
        assert any("guess" in note for note in found.report["notes"])
