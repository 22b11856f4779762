"""What the small networks learn from: exact drawings, keyed portraits, and the training itself."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from slotid_core.errors import SlotIDError
from slotid_core.reference.portrait.parts import EYES, HAIR, NONE, SIDE
from slotid_core.reference_training import drawn_heads as store
from slotid_core.reference_training.backgrounds import background
from slotid_core.reference_training.compose import beyond_the_frame, draw_batch, hiding
from slotid_core.reference_training.drawn_heads import drawn_heads
from slotid_core.reference_training.keying import vignette
from slotid_core.reference_training.portraits import UNKNOWN, blink, people_in, read_portraits
from slotid_core.reference_training.train_drawn_faces import DrawnFacesTraining, train_drawn_faces
from slotid_core.reference_training.wearing import dressed, long_hair

PORTRAITS = Path(__file__).resolve().parents[3] / "shared" / "data" / "portraits"
needs_portraits = pytest.mark.skipif(not PORTRAITS.is_dir(), reason="the portraits are not there")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("heads")


@pytest.fixture(scope="module")
def heads(folder):
    return drawn_heads(folder, 8)


@pytest.fixture(scope="module")
def portraits():
    return read_portraits(PORTRAITS, people_in(PORTRAITS)[0][:2])


def test_what_is_known_of_drawn_heads_fits_together(heads):
    assert len(heads) == 8 and (heads.parts.float().sum(1) - 255).abs().max() <= 4
    for index in range(8):
        person = heads.parts[index, 0].float() < 128
        left, top, right, bottom = (int(value) for value in heads.boxes[index].clamp(0, store.SIZE))
        assert person[top:bottom, left:right].float().mean() > 0.6
        for x, y in heads.landmarks[index].tolist():
            assert person[int(y), int(x)]


def test_the_store_is_read_back_and_not_drawn_again(heads, folder, monkeypatch):
    monkeypatch.setattr(store, "render_heads", None)
    assert torch.equal(drawn_heads(folder, 8).frames, heads.frames)


@pytest.mark.parametrize("seed", range(20))
def test_backgrounds_are_pictures_and_the_same_for_a_seed(seed):
    first, second = (background(np.random.default_rng(seed), 64) for _ in range(2))
    assert first.shape == (3, 64, 64) and torch.equal(first, second)
    assert first.min() >= 0 and first.max() <= 1 and torch.isfinite(first).all()


def test_the_vignette_is_found_although_hair_reaches_the_border():
    y, x = np.mgrid[:200, :200] / 200 - 0.5
    true = np.stack([0.8 - 0.2 * x**2 - 0.3 * y**2 + 0.05 * x * y + c for c in (0.0, 0.02, 0.05)], axis=2)
    picture = true + np.random.default_rng(0).normal(0, 0.01, true.shape)
    picture[:6, 80:120] = 0.1
    assert np.abs(vignette(picture) - true)[:120].max() < 0.03


def test_a_folder_without_the_set_is_named(tmp_path):
    with pytest.raises(SlotIDError, match="--portraits"):
        people_in(tmp_path)


@needs_portraits
def test_nobody_who_is_held_out_is_learnt_from():
    learnt, held_out = people_in(PORTRAITS)
    assert len(held_out) == 20 and not set(learnt) & set(held_out)


@needs_portraits
def test_keyed_portraits_hold_the_face_and_no_studio(portraits):
    for index in range(len(portraits)):
        alpha = portraits.alpha[index].float() / 255
        left, top, right, bottom = (int(value) for value in portraits.boxes[index])
        third = (right - left) // 3
        assert alpha[top + third : bottom - third, left + third : right - third].min() > 0.95
        assert alpha[: top + third, :20].max() < 0.1  # hair may reach the upper border


@needs_portraits
def test_a_blink_takes_the_eyes_away_and_changes_nothing_else(portraits):
    points = portraits.points[0].double().numpy()
    before, parts = portraits.colors[0].float() / 255, portraits.parts[0]
    after, changed = blink(before, parts, points, 1.0)
    assert (parts == EYES).sum() > 100 and (changed == EYES).sum() < 0.1 * (parts == EYES).sum()
    moved = (after - before).abs().amax(0) > 0.02
    rows = torch.nonzero(moved.any(dim=1))[:, 0]
    eyes = torch.nonzero((parts == EYES).any(dim=1))[:, 0]
    assert rows.min() > eyes.min() - 0.3 * (portraits.boxes[0, 3] - portraits.boxes[0, 1])
    assert rows.max() <= eyes.max() + 3


@needs_portraits
@pytest.mark.parametrize("seed", range(8))
def test_what_is_worn_belongs_to_the_person_and_hides_no_face(portraits, seed):
    alpha, parts = portraits.alpha[0].float() / 255, portraits.parts[0]
    before = portraits.colors[0].float() / 255, alpha, parts, portraits.points[0].double().numpy()
    picture, worn, named = dressed(*before, np.random.default_rng(seed))
    assert (worn >= alpha).all() and picture.min() >= 0 and picture.max() <= 1
    assert torch.equal(named == EYES, parts == EYES)
    changed = (picture != before[0]).any(dim=0)
    assert (worn[changed] > 0).all()
    picture, worn, named = long_hair(*before, np.random.default_rng(seed))
    assert (worn >= alpha).all() and torch.equal(named == EYES, parts == EYES)
    grown = (named == HAIR) & (parts != HAIR)
    assert grown.any() and (worn[grown] > 0.5).all()


def test_a_background_can_take_on_the_tones_of_the_person():
    rng = np.random.default_rng(0)
    person, behind = torch.full((3, SIDE, SIDE), 0.1), background(rng, SIDE) * 0.2 + 0.8
    alpha = torch.zeros(SIDE, SIDE)
    alpha[60:, 60:130] = 1
    assert hiding(behind, person, alpha, rng).mean() < behind.mean() - 0.2
    assert hiding(behind, person, torch.zeros(SIDE, SIDE), rng) is behind


@pytest.mark.parametrize("seed", range(6))
def test_beyond_the_frame_is_black_and_nobody(seed):
    ones = torch.ones(3, SIDE, SIDE), torch.ones(SIDE, SIDE), torch.full((SIDE, SIDE), HAIR, dtype=torch.uint8)
    picture, alpha, parts = beyond_the_frame(*ones, np.random.default_rng(seed))
    outside = alpha == 0
    assert 0 < outside.float().mean() < 0.5
    assert (picture[:, outside] == 0).all() and (parts[outside] == NONE).all() and (parts[~outside] == HAIR).all()


@needs_portraits
def test_a_batch_is_a_function_of_its_step(portraits, heads):
    first, again, other = (draw_batch(step, 4, portraits, heads) for step in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    pictures, alpha, parts = first
    assert pictures.shape == (4, 3, SIDE, SIDE) and alpha.shape == parts.shape == (4, SIDE, SIDE)
    assert set(parts.unique().tolist()) <= {*range(7), UNKNOWN}


@needs_portraits
def test_training_runs_and_resumes(tmp_path):
    config = DrawnFacesTraining(heads=8, nobody=2, steps=3, batch=4, photographs=str(PORTRAITS), save_every=1)
    at_once, in_parts = tmp_path / "a", tmp_path / "b"
    at_once.mkdir()
    # Keying everybody takes minutes; two people do.
    read_portraits(PORTRAITS, people_in(PORTRAITS)[0][:2], at_once / "portraits.safetensors")
    train_drawn_faces(at_once, config)
    in_parts.mkdir()
    for path in at_once.glob("*_*.safetensors"):
        if path.name.startswith(("drawn_heads", "nobody")):
            (in_parts / path.name).write_bytes(path.read_bytes())
    train_drawn_faces(in_parts, replace(config, steps=3))
    lines = [(folder / "drawn_faces.jsonl").read_text().splitlines() for folder in (at_once, in_parts)]
    assert [json.loads(line)["loss"] for line in lines[0]] == [json.loads(line)["loss"] for line in lines[1]]
    train_drawn_faces(in_parts, replace(config, steps=4))
    assert len((in_parts / "drawn_faces.jsonl").read_text().splitlines()) == 4
    assert "model.head.0.weight" in load_file(in_parts / "drawn_faces.safetensors")
