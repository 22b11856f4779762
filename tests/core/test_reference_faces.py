"""Following a face: boxes to tracks, tracks to a steady square, and whole clips with a real face in them.

The face is the astronaut portrait that scikit-image ships (NASA, public domain).
"""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proof import examples
from typed import present

from slotid_core.errors import SlotIDError
from slotid_core.reference.decode.clip import read_clip, shrink
from slotid_core.reference.faces import detector as detectors
from slotid_core.reference.faces.crop import cut_squares, moving_average, square_path
from slotid_core.reference.faces.face import Face, merge_hits, overlap
from slotid_core.reference.faces.face_clip import crop_jitter, make_face_clip
from slotid_core.reference.faces.tracking import boxes_for_every_frame, link_faces

REAL_CLIPS = Path(os.environ.get("SLOTID_FACES", Path(__file__).parents[3] / "shared" / "data" / "faces"))
NOSE = np.array([134, 112]) / 260  # x, y in the portrait, as a share of its side
HEIGHT, WIDTH = 240, 400


@pytest.fixture(scope="module")
def astronaut():
    pytest.importorskip("skimage")
    from skimage.data import astronaut

    return astronaut()[:260, 90:350]


@pytest.fixture(scope="module")
def detector():
    pytest.importorskip("skimage")
    return detectors.find_detector(choice="cascade")


def clip_with(portrait, places, size=160, frames=9) -> torch.Tensor:
    """(T, HEIGHT, WIDTH, 3): the portrait at each place, a function of the frame that gives left, top."""
    clip = torch.full((frames, HEIGHT, WIDTH, 3), 0.4)
    for place, side in zip(places, size if isinstance(size, list) else [size] * len(places), strict=True):
        picture = torch.from_numpy(shrink(portrait, side)).float() / 255
        for index in range(frames):
            left, top = place(index)
            clip[index, top : top + side, left : left + side] = picture
    return clip


def test_the_face_stays_in_the_middle_of_the_crop_while_the_person_walks(astronaut, detector):
    def place(index):
        return 20 + 9 * index, 20 + 2 * index

    clip = clip_with(astronaut, [place], size=200)
    found = make_face_clip(clip, detector, size=64, smoothing=2, every=2)
    assert found.clip.shape == (9, 64, 64, 3) and found.report["detection_rate"] == 1.0
    assert found.report["detector"] == detector.name and found.report["people"] == 1
    for index in range(9):
        nose = place(index) + NOSE * 200
        in_crop = (nose - found.squares[index, :2]) / found.squares[index, 2]
        assert np.abs(in_crop - 0.5).max() < 0.2
        box = present(found.boxes)[index]
        assert (box[:2] < nose).all() and (nose < box[2:]).all()


def test_of_two_people_the_larger_is_taken_and_the_other_can_be_asked_for(astronaut, detector):
    clip = clip_with(astronaut, [lambda _: (0, 0), lambda _: (240, 60)], size=[236, 150], frames=5)
    large = make_face_clip(clip, detector, size=64)
    assert large.report["people"] == 2 and "subject" in large.report["notes"][0]
    small = make_face_clip(clip, detector, size=64, subject=1)
    assert present(large.boxes)[0, 2] < 236 < 240 < present(small.boxes)[0, 0]
    with pytest.raises(SlotIDError, match="Subject 2.*2 people are"):
        make_face_clip(clip, detector, subject=2)


def test_no_face_is_an_error_or_the_middle_with_a_note(detector):
    empty = torch.rand(5, 48, 80, 3)
    with pytest.raises(SlotIDError, match="No face.*on_missing"):
        make_face_clip(empty, detector, on_missing="error")
    skipped = make_face_clip(empty, detector, size=48, on_missing="skip")
    assert skipped.boxes is None and skipped.report["detection_rate"] == 0
    assert "No face" in skipped.report["notes"][0]
    assert (skipped.clip - empty[:, :, 16:64]).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (torch.zeros(5, 64, 64), "shape"),
        (torch.zeros(0, 64, 64, 3), "shape"),
        (torch.full((2, 64, 64, 3), float("nan")), "NaN"),
    ],
)
def test_frames_that_are_none_are_named(frames, reason, detector):
    with pytest.raises(SlotIDError, match=reason):
        make_face_clip(frames, detector)


def test_an_interrupt_stops_the_search(astronaut, detector):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_face_clip(clip_with(astronaut, [lambda _: (0, 0)]), detector, progress=stop)


def test_without_insightface_models_the_fallback_is_announced_once(caplog, tmp_path):
    pytest.importorskip("skimage")
    detectors._announce_fallback.cache_clear()
    with caplog.at_level(logging.WARNING):
        names = {detectors.find_detector([tmp_path]).name for _ in range(3)}
    assert len(names) == 1 and "cascade" in names.pop()
    assert len([record for record in caplog.records if "det_*.onnx" in record.message]) == 1
    with pytest.raises(SlotIDError, match="insightface cannot run"):
        detectors.find_detector([tmp_path], "insightface")


def test_hits_that_agree_are_one_face_and_single_hits_are_noise():
    rng = np.random.default_rng(0)
    around = np.array([40, 50, 100, 110]) + rng.normal(0, 3, (12, 4))
    inside = np.array([60, 60, 85, 85]) + rng.normal(0, 1, (4, 4))  # a mouth seen as a face
    faces = merge_hits(np.concatenate([around, inside, [[200, 10, 240, 50]]]), min_support=3)
    assert len(faces) == 1 and faces[0].score == 12
    assert overlap(faces[0].box, (40, 50, 100, 110)) > 0.9


def test_faces_do_not_depend_on_the_order_of_hits():
    """OpenCV searches on several threads, and gives hits as they come."""
    rng = np.random.default_rng(0)
    hits = np.array([40, 50, 100, 110]) + rng.normal(0, 14, (40, 4)).round()
    found = [merge_hits(hits[rng.permutation(40)], min_support=3) for _ in range(20)]
    assert len(found[0]) > 0 and all(one == found[0] for one in found)


@given(st.integers(2, 40), st.integers(1, 5), st.randoms(use_true_random=False))
def test_two_people_who_keep_apart_are_never_mixed(frames, speed, random):
    detections = {}
    for index in range(frames):
        faces = [
            Face((speed * index, 0, 80 + speed * index, 80)),
            Face((10, 200, 60, 250)),
        ]
        random.shuffle(faces)
        detections[index] = [face for face in faces if random.random() < 0.9]
    for track in link_faces(detections, min_share=0.0):
        assert len({face.box[1] for face in track.faces.values()}) == 1


def test_gaps_are_filled_linearly_and_one_wild_box_is_dropped():
    faces = {index: Face((10.0 * index, 0, 10.0 * index + 50, 50)) for index in (2, 4, 8, 10, 12)}
    faces[6] = Face((300.0, 0, 500, 200))
    boxes = boxes_for_every_frame(link_faces({index: [face] for index, face in faces.items() if index != 6})[0], 15)
    assert np.allclose(boxes[2:13, 0], 10 * np.arange(2, 13)) and boxes[0, 0] == 20 and boxes[14, 0] == 120
    wild = boxes_for_every_frame(type(link_faces({0: [faces[2]]})[0])(faces), 15)
    assert wild[6, 0] < 120


boxes_of_a_walk = st.integers(0, 10_000).map(lambda seed: random_walk(np.random.default_rng(seed)))


def random_walk(rng) -> np.ndarray:
    """(T, 4) boxes that jump about, some of them partly outside the picture."""
    count = rng.integers(1, 40)
    centre = np.array([WIDTH, HEIGHT]) * rng.random(2) + rng.normal(0, 15, (count, 2)).cumsum(axis=0)
    side = rng.uniform(20, 150) * rng.uniform(0.7, 1.4, (count, 1))
    centre = centre.clip(0, [WIDTH, HEIGHT])
    return np.concatenate([centre - side / 2, centre + side / 2], axis=1)


@settings(max_examples=examples(200))
@given(boxes_of_a_walk, st.floats(0.1, 1.5), st.integers(0, 12))
def test_the_crop_never_cuts_the_face_and_stays_in_the_picture_where_it_fits(boxes, margin, smoothing):
    squares = square_path(boxes, HEIGHT, WIDTH, margin, smoothing)
    visible = boxes.clip(0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
    assert (squares[:, :2] <= visible[:, :2] + 1e-6).all()
    assert (squares[:, :2] + squares[:, 2:] >= visible[:, 2:] - 1e-6).all()
    for axis, extent in ((0, WIDTH), (1, HEIGHT)):
        fits = squares[:, 2] <= extent
        assert (squares[fits, axis] >= -1e-6).all()
        assert (squares[fits, axis] + squares[fits, 2] <= extent + 1e-6).all()


def test_smoothing_takes_the_detectors_tremble_out_of_the_crop():
    rng = np.random.default_rng(0)
    centre = np.array([200, 120]) + rng.normal(0, 3, (65, 2))
    boxes = np.concatenate([centre - 30, centre + 30], axis=1)
    raw, smooth = (crop_jitter(square_path(boxes, HEIGHT, WIDTH, 0.5, smoothing)) for smoothing in (0, 8))
    assert smooth < 0.2 * raw


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=50), st.integers(0, 20))
def test_a_moving_average_stays_between_the_extremes(values, radius):
    averaged = moving_average(np.array(values), radius)
    assert averaged.shape == (len(values),)
    assert min(values) - 1e-6 <= averaged.min() and averaged.max() <= max(values) + 1e-6


def test_a_whole_pixel_crop_is_a_slice_and_the_border_is_mirrored():
    frame = torch.rand(1, 40, 60, 3)
    inside = cut_squares(frame, np.array([[7.0, 5.0, 30.0]]), 30)
    assert (inside - frame[:, 5:35, 7:37]).abs().max() < 1e-5
    mirrored = np.pad(frame[0].numpy(), ((10, 10), (10, 10), (0, 0)), mode="symmetric")
    outside = cut_squares(frame, np.array([[-10.0, -10.0, 60.0]]), 60)
    interior = slice(2, -2)  # at the very edge the bicubic kernel and np.pad mirror in different places
    assert np.abs(outside[0].numpy() - mirrored[:60, :60])[interior, interior].max() < 1e-4


def test_a_large_crop_is_averaged_not_skipped():
    stripes = (torch.arange(240) % 2).float()[None, :, None, None].expand(1, 240, 240, 3)
    small = cut_squares(stripes, np.array([[0.0, 0.0, 240.0]]), 60)
    assert (small - 0.5).abs().max() < 0.05


@pytest.mark.skipif(not REAL_CLIPS.is_dir(), reason="the real clips are not beside this checkout (SLOTID_FACES)")
@pytest.mark.parametrize("name", sorted(path.name for path in REAL_CLIPS.glob("*.mp4")) if REAL_CLIPS.is_dir() else [])
def test_real_clips_keep_the_face_in_the_crop(name, detector):
    clip = read_clip(REAL_CLIPS / name, 17, frames_per_second=8, short_side=256)
    found = make_face_clip(clip.frames, detector, size=128, every=4)
    assert found.report["detection_rate"] >= 0.6 and found.report["crop_jitter_percent"] < 2
    again = make_face_clip(found.clip, detector, size=128, on_missing="skip", every=4)
    assert again.report["detection_rate"] >= 0.6
