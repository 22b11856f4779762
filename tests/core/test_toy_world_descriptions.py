"""Descriptions are true, every word of them is known and is one token, and neighbours are bound."""

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy_family import ship_random_family

from slotid_core.toy_world.captions import asked_for, caption, known_words, listed, unknown_words
from slotid_core.toy_world.descriptions import SCALES, describe, some_factors, visible_factors, ways_to_say
from slotid_core.toy_world.evaluate_words import evaluate_words, full_description
from slotid_core.toy_world.family import load_dit, read_part
from slotid_core.toy_world.person import MARKS, sample_person
from slotid_core.toy_world.render import render_clip, render_portrait
from slotid_core.toy_world.scene import ACTIONS, LOOK_AROUND, Scene, sample_scene
from slotid_core.toy_world.text_encoder import pieces_of
from slotid_core.toy_world.train_dit import DiTTraining, train_dit
from slotid_core.toy_world.train_text_encoder import TextEncoderSettings, make_text_encoder
from slotid_core.wan.text_encoder import TextEncoder

PLAIN = replace(
    sample_person(3), hair_style=0, glasses=0, beard=0, freckles=0.0, skin=0.3, blush=0.5,
    **{name: 0.5 for name in SCALES if name != "blush"}, **dict.fromkeys(MARKS, 0),
)  # fmt: skip


@pytest.fixture(scope="module")
def weights():
    return make_text_encoder()


def test_captions_without_a_description_are_what_they_were():
    said = "\n".join(caption(sample_scene(seed), seed) for seed in range(1000))
    assert sha256(said.encode()).hexdigest() == "54dc0d9475f873a19709ce89fb25b7383637a73ee5fe7362c6f808c4a541142a"


@given(seed=st.integers(0, 10**6))
def test_a_described_caption_asks_for_the_same_scene_in_known_words(seed):
    scene = sample_scene(seed)
    text = full_description(sample_person(seed), scene, seed)
    assert unknown_words(text) == []
    assert asked_for(text) == asked_for(caption(scene, seed))
    assert text == full_description(sample_person(seed), scene, seed)
    assert len(text) > 200


def test_lists_read_as_lists():
    assert listed(("a",)) == "a"
    assert listed(("a", "b", "c")) == "a, b and c"


def test_factors_are_those_that_the_action_shows():
    for action, name in enumerate(ACTIONS):
        factors = visible_factors(PLAIN, Scene(action, 0, 0))
        assert ("temple_mark" in factors) == (action == LOOK_AROUND)
        assert ("nod_amplitude" in factors) == (name == "nod")
        assert ("smile_asymmetry" in factors) == (name == "smile")
        assert "sway" in factors
    bald = replace(PLAIN, hair_style=6)
    assert "hair_volume" not in visible_factors(bald, Scene(0, 0, 0))
    counts = {len(some_factors(PLAIN, Scene(0, 0, 0), np.random.default_rng(s), 4)) for s in range(50)}
    assert counts == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("name", SCALES)
def test_scales_have_five_levels_with_the_poles_in_order(name):
    values = (0.0, 0.3, 0.5, 0.7, 1.0)
    said = [ways_to_say(replace(PLAIN, **{name: value}), name) for value in values]
    for way, (low, middle, high, noun) in enumerate(SCALES[name]):
        words = [[word for word in told[way].split() if word not in ("a", "an")] for told in said]
        assert words == [["very", low, noun], [low, noun], [middle, noun], [high, noun], ["very", high, noun]]


def phrase(name: str, **looks) -> str:
    return describe(replace(PLAIN, **looks), np.random.default_rng(0), [name])[0]


def difference(name: str) -> torch.Tensor:
    """(H, W): where the portrait of the highest value is lighter than that of the lowest."""
    low, high = (render_portrait(replace(PLAIN, **{name: value}), size=128) for value in (0.0, 1.0))
    return (high - low).mean(2)


def test_pole_words_are_true_of_the_picture():
    assert "very pale" not in phrase("skin", skin=0.0) and "pale" in phrase("skin", skin=0.0)
    assert "dark" in phrase("skin", skin=1.0)
    assert difference("skin").mean() < 0
    # Low at their inner ends are the brows of a stern face: dark just above the eye, beside the nose.
    inner = difference("brow_tilt")[42:46, 54:59]
    assert inner.mean() > 0.1
    assert "stern" in phrase("brow_tilt", brow_tilt=0.0) and "sad" in phrase("brow_tilt", brow_tilt=1.0)


@pytest.mark.parametrize(("value", "side"), [(-1, "left"), (1, "right")])
def test_left_and_right_are_the_pictures(value, side):
    assert side in phrase("temple_mark", temple_mark=value)
    assert side in phrase("smile_asymmetry", smile_asymmetry=float(value))
    scene = Scene(LOOK_AROUND, 5, 1, phase=0.25 if value < 0 else 0.75)  # the head turns the other way
    seen = render_clip(replace(PLAIN, temple_mark=value), scene)[8] - render_clip(PLAIN, scene)[8]
    columns = seen.abs().sum((0, 2))
    assert columns.sum() > 0
    centre = (columns * torch.arange(64)).sum() / columns.sum()
    assert (centre < 32) == (side == "left")
    smile = render_clip(replace(PLAIN, smile_asymmetry=float(value)), Scene(0, 5, 1))[16]
    other = render_clip(replace(PLAIN, smile_asymmetry=-float(value)), Scene(0, 5, 1))[16]
    raised = (other - smile).sum(2)[30:36].clamp(min=0).sum(0)  # lips are darker than cheeks
    centre = (raised * torch.arange(64)).sum() / raised.sum()
    assert (centre < 32) == (side == "left")


def test_every_word_is_one_token_and_old_words_keep_their_vectors(weights):
    encoder = TextEncoder(weights)
    assert all(len(encoder.tokens(word)) == 2 for word in known_words())  # the end mark is the other
    before, _ = read_part("text_encoder")
    pieces = pieces_of(weights)
    places = [pieces.index(piece) for piece in pieces_of(before)]
    assert torch.equal(weights["shared.weight"][places], before["shared.weight"])
    fresh = make_text_encoder(TextEncoderSettings(captions=200, start_from=""))
    assert pieces_of(fresh) == pieces and not torch.equal(fresh["shared.weight"], weights["shared.weight"])


def test_a_word_is_bound_to_its_neighbours_and_to_nothing_else(weights):
    encoder, pieces = TextEncoder(weights), pieces_of(weights)

    def brown(prompt: str) -> torch.Tensor:
        return encoder.encode(prompt)[encoder.tokens(prompt).index(pieces.index("▁brown"))]

    hair, eyes = brown("someone with brown hair, no beard"), brown("someone with brown eyes, no beard")
    elsewhere = brown("the person nods in a library with brown hair and glasses")
    assert torch.cosine_similarity(hair, eyes, dim=0) < 0.9
    assert torch.cosine_similarity(hair, elsewhere, dim=0) > 0.999


def test_training_goes_on_from_a_transformer_and_the_words_are_measured(tmp_path):
    ship_random_family(tmp_path)
    settings = {"weights": str(tmp_path), "start_from": str(tmp_path), "clips": 4, "batch": 2, "motion_steps": 1}
    settings |= {"word_steps": 1, "word_batch": 2, "word_learning_rate": 1e-9}
    config = DiTTraining(width=128, ffn_width=128, layers=2, motion_learning_rate=1e-9, **settings)
    trained = train_dit(tmp_path, config)
    assert not (tmp_path / "dit.jsonl").exists()
    assert (tmp_path / "dit_words.jsonl").exists() and (tmp_path / "dit_motion.jsonl").exists()
    before = load_dit(tmp_path).state_dict()
    assert all(torch.allclose(value, before[name], atol=1e-6) for name, value in trained.state_dict().items())
    figures = evaluate_words(trained.eval(), tmp_path, num_people=2)
    assert {f"words_{row}_similarity" for row in ("plain", "described", "ground_truth")} <= set(figures)
    assert all(np.isfinite(value) for value in figures.values())
