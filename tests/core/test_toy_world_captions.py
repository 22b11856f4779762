"""Captions say the scene, in several ways, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slotid_core.toy_world.captions import (
    ACTION_PHRASES,
    CLOTHES_PHRASES,
    PLACE_PHRASES,
    caption,
    known_words,
    unknown_words,
)
from slotid_core.toy_world.scene import ACTIONS, BACKGROUNDS, CLOTHES, sample_scene


def test_every_thing_has_phrases():
    assert len(ACTION_PHRASES) == len(ACTIONS)
    assert len(PLACE_PHRASES) == len(BACKGROUNDS)
    assert len(CLOTHES_PHRASES) == len(CLOTHES)


@given(seed=st.integers(0, 10**6))
def test_a_caption_names_its_scene_and_no_other(seed):
    scene = sample_scene(seed)
    text = caption(scene, seed).lower()
    for phrases, index in (
        (ACTION_PHRASES, scene.action),
        (PLACE_PHRASES, scene.background),
        (CLOTHES_PHRASES, scene.clothes),
    ):
        assert any(phrase in text for phrase in phrases[index])
        for other, group in enumerate(phrases):
            assert other == index or not any(phrase in text for phrase in group)
    assert unknown_words(text) == []


def test_paraphrases_vary():
    scene = sample_scene(1)
    assert len({caption(scene, seed) for seed in range(50)}) > 20


@pytest.mark.parametrize(("prompt", "unknown"), [("A person rides a zebra", ["rides", "zebra"]), ("someone nods.", [])])
def test_unknown_words_are_found(prompt, unknown):
    assert unknown_words(prompt) == unknown
    assert "beach" in known_words()
