"""The toy world's face recogniser: whose faces it is taught, how they are cut, what the shipped file is worth."""

from pathlib import Path

import numpy as np
import pytest
import torch
from dataset_settings import drawn, models
from typed import instance

from slotid_core.dataset.clip import Clip
from slotid_core.dataset.config import read_config
from slotid_core.dataset.drawn_clips import drawn_pixels
from slotid_core.dataset.face_places import face_places
from slotid_core.dataset.pixels import Pixels, fill, place_of
from slotid_core.model_files import model_file
from slotid_core.reference.faces.alignment import (
    ARCFACE,
    INPUT_SIZE,
    crop_place,
    crops_at,
    landmarks_from_box,
    similarity,
    warp,
)
from slotid_core.reference.faces.drawn_faces import find_drawn_faces
from slotid_core.reference.faces.face_encoder import load_face_encoder
from slotid_core.systems.registry import inference_of
from slotid_core.toy_world import train_face_recogniser as recogniser
from slotid_core.toy_world.evaluate_faces import evaluate_faces
from slotid_core.toy_world.face_pictures import crops_of_face_pictures, crops_of_frames
from slotid_core.toy_world.landmarks import face_landmarks
from slotid_core.toy_world.motion import move
from slotid_core.toy_world.person import HELD_OUT_FROM, sample_person
from slotid_core.toy_world.render import head_boxes, render_clip
from slotid_core.toy_world.scene import sample_scene
from slotid_core.toy_world.train_judges import FaceJudgeTraining
from slotid_core.training.config import read_config as read_recipe

CORE = Path(__file__).parents[2] / "slotid_core"
LARGEST = 4e6  # bytes


def test_crops_at_places_are_those_that_the_face_embedding_is_made_of():
    picture = torch.rand(1, 40, 56, 3, generator=torch.Generator().manual_seed(1))
    landmarks = landmarks_from_box((10.0, 5.0, 40.0, 35.0)) + np.array([[0, 2], [1, 0], [0, 0], [0, 1], [2, 0]])
    by_warp = warp(picture[0], similarity(landmarks, ARCFACE), INPUT_SIZE).permute(2, 0, 1) * 2 - 1
    by_place = crops_at(picture.permute(0, 3, 1, 2), crop_place(landmarks, 40, 56)[None])[0]
    assert (by_warp - by_place).abs().max() < 1e-4


def test_a_frame_and_its_face_picture_show_the_face_at_one_place():
    """Inside of the face picture the crops agree; around it is black."""
    person, scene = sample_person(3), sample_scene(5)
    frames = render_clip(person, scene, num_frames=5, size=64)
    boxes = head_boxes(scene, move(person, scene, 5), 64)
    straight, by_picture = crops_of_frames(frames, boxes), crops_of_face_pictures(frames, boxes, 64)
    middle = (slice(None), slice(None), slice(30, 90), slice(25, 85))
    assert (straight[middle] - by_picture[middle]).abs().mean() < 0.06


def test_nobody_whom_the_judge_knows_and_nobody_held_out_is_taught(monkeypatch):
    """And each step shows one person at one place of both halves of its batch."""
    seen: list[int] = []
    real = recogniser.sample_person
    monkeypatch.setattr(recogniser, "sample_person", lambda seed: (seen.append(seed), real(seed))[1])
    drawers = {}
    monkeypatch.setattr(recogniser, "train", lambda name, module, draw, *others, **more: drawers.update(draw=draw))
    monkeypatch.setattr(recogniser, "face_pictures", lambda people, rng: torch.zeros(len(people)))
    monkeypatch.setattr(recogniser, "frames_of_clips", lambda people, *others: torch.zeros(len(people)))
    recogniser.train_face_recogniser(Path("unused"))
    for step in range(300):
        before = len(seen)
        drawers["draw"](step)
        assert len(set(seen[before:])) == recogniser.FaceRecogniserTraining.batch
    assert FaceJudgeTraining.people <= min(seen) < 1100 and 4900 < max(seen) < HELD_OUT_FROM
    assert max(seen) < FaceJudgeTraining.people + recogniser.FaceRecogniserTraining.people


def test_the_contrast_is_least_where_everybody_is_alone():
    apart = torch.eye(4)
    best, right = recogniser.contrastive_loss(apart, apart, 0.1)
    assert right == 1.0 and best < 1e-3
    swapped, wrong = recogniser.contrastive_loss(apart, apart.roll(1, 0), 0.1)
    assert wrong == 0.0 and swapped > 5


def test_the_shipped_file_is_read_as_facexlibs_and_knows_people_whom_it_never_saw():
    file = model_file("toy_world", "face_recogniser")
    assert file.stat().st_size <= LARGEST
    encoder = load_face_encoder(file)
    assert instance(encoder.output_layer[3], torch.nn.Linear).weight.shape[0] == 512
    figures = evaluate_faces(encoder, None, seed=3, num_people=24)
    assert figures["face_recogniser_auc"] > 0.95 and figures["face_recogniser_rank1"] > 0.6, figures


@pytest.mark.parametrize("name", ["toy_world_st_drc", "toy_world_lynx"])
def test_the_toy_recipes_name_it(name):
    data = read_config(CORE / "dataset" / "configs" / f"{name}.yaml")
    assert data.face_encoder == "toy_world" and data.toy_world is not None and data.toy_world.described
    recipe = read_recipe(CORE / "training" / "configs" / f"{name}.yaml")
    assert recipe.system == name.removeprefix("toy_world_")
    own = recipe.own_objective()
    if "no_face" in inference_of(recipe.system).variants:
        assert own.face_weight > 0 and data.toy_world.as_users == 0.5


def test_places_of_a_drawn_clip_are_where_its_face_is(tmp_path):
    config = drawn(models(tmp_path), frames=17, height=64, width=96)
    pixels = drawn_pixels(Clip(key="a", caption="", person="", person_seed=11), config)
    places = face_places(pixels, None)
    assert places.shape == (5, 2, 3)
    crops = crops_at(pixels.video[::4].permute(0, 3, 1, 2), places) * 0.5 + 0.5
    face = crops[:, :, 45:70, 40:72].mean((0, 2, 3))
    background = pixels.video[:, :8, :8].mean((0, 1, 2))
    person = pixels.video[0, 20:44, 36:60].mean((0, 1))
    assert (face - person).abs().max() < 0.25 and (face - background).abs().max() > 0.1


def test_with_a_detector_places_follow_landmarks_and_are_nan_without_a_face():
    person, scene = sample_person(8), sample_scene(21, action=0)
    video = render_clip(person, scene, num_frames=5, size=192)
    motion = move(person, scene, 5)
    video[4] = 0.5
    squares = np.tile([0.0, 0.0, 192.0], (5, 1))
    pixels = Pixels(video, video, video[:1], video[:1], face_squares=squares)
    places = face_places(pixels, find_drawn_faces())
    assert places[1].isnan().all() and places[0].isfinite().all()
    exact = crop_place(face_landmarks(person, scene, motion, 192)[0], 192, 192)
    assert (places[0] - exact).abs().max() < 0.15
    elsewhere = Pixels(video, video, video[:1], video[:1], face_squares=np.tile([0.0, 0.0, 20.0], (5, 1)))
    assert face_places(elsewhere, find_drawn_faces()).isnan().all(), "a face outside of the square is somebody else's"


def test_squares_move_with_what_is_cut_off():
    frames = torch.zeros(1, 60, 100, 3)
    frames[0, 20:30, 70:80] = 1.0
    around = (60.0, 10.0, 90.0, 40.0)
    (_, width), top, left = place_of(60, 100, 64, 64, around)
    video, scale = fill(frames, 64, 64, around), width / 100
    x, y, side = 70 * scale - left, 20 * scale - top, 10 * scale
    inside = video[0, round(y) + 1 : round(y + side) - 1, round(x) + 1 : round(x + side) - 1]
    assert inside.min() > 0.9 and video.mean() < 0.1
