"""The toy world's drawings: the same for a seed, different for people, honest about what a portrait hides."""

from dataclasses import fields, replace
from typing import get_type_hints

import pytest
import torch
from torch import Tensor

from slotid_core.toy_world.figure import Figure
from slotid_core.toy_world.motion import Motion, move
from slotid_core.toy_world.person import APPEARANCE, DYNAMICS, HELD_OUT_FROM, MARKS, Person, sample_person
from slotid_core.toy_world.render import render_clip, render_clips, render_portrait, render_reference
from slotid_core.toy_world.scene import ACTIONS, BACKGROUNDS, CLOTHES, Scene, sample_scene


def test_the_world_is_as_rich_as_it_says():
    assert len(APPEARANCE) >= 15 and len(MARKS) >= 3 and len(DYNAMICS) >= 4
    assert min(len(ACTIONS), len(BACKGROUNDS), len(CLOTHES)) >= 6


def test_a_seed_gives_the_same_bits_alone_and_in_a_batch():
    people, scenes = [sample_person(i) for i in range(3)], [sample_scene(i) for i in range(3)]
    together = render_clips(people, scenes)
    assert together.shape == (3, 17, 64, 64, 3) and together.min() >= 0 and together.max() <= 1
    for index in range(3):
        assert torch.equal(render_clip(people[index], scenes[index]), together[index])


def test_people_differ_and_held_out_people_are_others():
    seeds = (*range(12), *range(HELD_OUT_FROM, HELD_OUT_FROM + 12))
    portraits = torch.stack([render_portrait(sample_person(seed)) for seed in seeds])
    distance = torch.cdist(portraits.flatten(1), portraits.flatten(1)) + 1e9 * torch.eye(len(portraits))
    assert distance.min() > 1


@pytest.mark.parametrize("mark", MARKS)
def test_a_portrait_hides_the_marks_and_a_clip_shows_them(mark):
    without = replace(sample_person(5), hair_style=0, temple_mark=0, neck_tattoo=0, ear_stud=0)
    with_mark = replace(without, **{mark: 1})
    assert torch.equal(render_portrait(without), render_portrait(with_mark))
    assert (render_reference(without, 1) - render_reference(with_mark, 1)).abs().max() > 0.2


@pytest.mark.parametrize("factor", DYNAMICS)
def test_dynamics_show_in_motion_only(factor):
    low, high = replace(sample_person(5), **{factor: 0.0}), replace(sample_person(5), **{factor: 1.0})
    assert torch.equal(render_portrait(low), render_portrait(high))
    assert (render_reference(low, 1) - render_reference(high, 1)).abs().max() > 0.2


def test_every_action_moves_in_its_own_way():
    person = sample_person(2)
    motions = [move(person, sample_scene(1, action=index, background=0, clothes=0)) for index in range(len(ACTIONS))]
    signatures = {
        b"".join(getattr(motion, field).tobytes() for field in Motion.__dataclass_fields__) for motion in motions
    }
    assert len(signatures) == len(ACTIONS)


def test_a_reference_of_any_length():
    for frames in (1, 33, 65, 129):
        assert render_reference(sample_person(1), 1, frames).shape == (frames, 64, 64, 3)


def test_a_figure_declares_every_parameter_that_it_holds():
    scene = [f"scene_{field.name}" for field in fields(Scene)]
    parameters = {field.name for parts in (Person, Motion) for field in fields(parts)} | set(scene)
    assert parameters == {name for name, kind in get_type_hints(Figure).items() if kind is Tensor}
