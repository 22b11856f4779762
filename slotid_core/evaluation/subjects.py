"""Held-out identities, the scenes in which they are drawn, and the seeds of their references."""

from dataclasses import dataclass

from ..toy_world.captions import caption
from ..toy_world.evaluate import PER_SEED
from ..toy_world.person import HELD_OUT_FROM, Person, sample_person
from ..toy_world.scene import LOOK_AROUND, Scene, sample_scene

SCENE_OFFSET = 5_000  # of a seed's range: scenes of subjects are not those of other evaluations


@dataclass(frozen=True)
class Subject:
    person: Person
    seed: int
    scenes: tuple[Scene, ...]
    prompts: tuple[str, ...]


def subjects_of(seed: int, count: int, prompts: int, look_around: bool = False) -> list[Subject]:
    """`count` held-out people with `prompts` scenes each; other seeds give other people.

    Args:
        look_around: in the last scene of each they look around, which shows their marks.
    """
    first = HELD_OUT_FROM + seed * PER_SEED
    subjects = []
    for number in range(count):
        scene_seeds = [first + SCENE_OFFSET + number * prompts + place for place in range(prompts)]
        scenes = tuple(
            sample_scene(s, LOOK_AROUND if look_around and s == scene_seeds[-1] else None) for s in scene_seeds
        )
        texts = tuple(caption(scene, s) for scene, s in zip(scenes, scene_seeds, strict=True))
        subjects.append(Subject(sample_person(first + number), first + number, scenes, texts))
    return subjects
