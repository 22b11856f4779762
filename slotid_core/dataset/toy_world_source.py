"""Clips of drawn people, in as many independent scenes each as asked."""

import numpy as np

from ..errors import SlotIDError
from ..toy_world.captions import caption, full_description
from ..toy_world.person import HELD_OUT_FROM, sample_person
from ..toy_world.scene import sample_scene
from .clip import Clip
from .config import ToyWorldSource


def toy_world_clips(source: ToyWorldSource) -> list[Clip]:
    """One clip per person and scene.

    Raises:
        SlotIDError: no people, or people of both sides of the border between training and held-out ones.
    """
    last = source.first + source.people - 1
    if source.people < 1 or source.clips_per_person < 1 or source.first < 0 or source.references_per_person < 0:
        raise SlotIDError(
            f"toy_world has people={source.people}, first={source.first}, clips_per_person={source.clips_per_person}, "
            f"references_per_person={source.references_per_person}; people and clips_per_person must be at least 1, "
            "the others at least 0."
        )
    if not 0 <= source.as_users <= 1:
        raise SlotIDError(f"toy_world.as_users is {source.as_users}; it is a share, from 0 to 1.")
    if source.references_per_person and source.reference == "same clip":
        raise SlotIDError(
            "toy_world.reference is 'same clip', and a clip cannot be cut from two; leave references_per_person at 0."
        )
    if source.first < HELD_OUT_FROM <= last:
        raise SlotIDError(
            f"The people {source.first} to {last} are partly held out (from {HELD_OUT_FROM} on). Lower first or people."
        )
    return [
        _clip(seed, number, source.described)
        for seed in range(source.first, last + 1)
        for number in range(source.clips_per_person)
    ]


def _clip(person_seed: int, number: int, described: bool) -> Clip:
    seed, person = scene_seed(person_seed, number), f"person{person_seed:07d}"
    scene = sample_scene(seed)
    return Clip(
        key=f"{person}-clip{number:03d}",
        caption=caption(scene, seed),
        person=person,
        described=full_description(sample_person(person_seed), scene, seed) if described else "",
        person_seed=person_seed,
        number=number,
    )


def scene_seed(person_seed: int, number: int, part: int = 0) -> int:
    """A seed of 63 bits for each clip (part 0) and its reference (part 1), so that no two share a scene."""
    return int(np.random.SeedSequence((person_seed, number, part, 61)).generate_state(1, np.uint64)[0] >> 1)
