"""Held-out identities, the scenes in which they are drawn, and the seeds of their references."""

from dataclasses import dataclass, replace

from ..toy_world.captions import caption
from ..toy_world.evaluate import PER_SEED
from ..toy_world.evaluate_words import full_description
from ..toy_world.person import HELD_OUT_FROM, Person, sample_person
from ..toy_world.scene import ACTIONS, Scene, sample_scene

SCENE_OFFSET = 5_000  # of a seed's range: scenes of subjects are not those of other evaluations
STRANGER_OFFSET = PER_SEED // 4  # from a person's seed to that of somebody who is not among the subjects
# Each movement factor but sway is shown by exactly one of these, sway by all, and hidden marks by the last.
BALANCED_ACTIONS = ("smile", "nod", "talk", "look around")


@dataclass(frozen=True)
class Subject:
    """A person, the seed of their reference, and of each scene its prompt and what a prompt can say of them as well."""

    person: Person
    seed: int
    scenes: tuple[Scene, ...]
    prompts: tuple[str, ...]
    descriptions: tuple[str, ...] = ()


def subjects_of(seed: int, count: int, prompts: int, balanced: bool = False) -> list[Subject]:
    """`count` held-out people with `prompts` scenes each; other seeds give other people.

    Args:
        balanced: the scenes have `BALANCED_ACTIONS` in turn, so with four scenes everybody does each of them once.
            Otherwise actions are random.
    """
    first = HELD_OUT_FROM + seed * PER_SEED
    subjects = []
    for number in range(count):
        person = sample_person(first + number)
        scene_seeds = [first + SCENE_OFFSET + number * prompts + place for place in range(prompts)]
        turns = [BALANCED_ACTIONS[(number + place) % len(BALANCED_ACTIONS)] for place in range(prompts)]
        actions = [ACTIONS.index(turn) if balanced else None for turn in turns]
        scenes = tuple(sample_scene(s, action) for s, action in zip(scene_seeds, actions, strict=True))
        texts = tuple(caption(scene, s) for scene, s in zip(scenes, scene_seeds, strict=True))
        said = tuple(full_description(person, scene, s) for scene, s in zip(scenes, scene_seeds, strict=True))
        subjects.append(Subject(person, first + number, scenes, texts, said))
    return subjects


def described(subject: Subject) -> Subject:
    """The same in everything but the prompts, which also say what a scene shows of the person."""
    return replace(subject, prompts=subject.descriptions)


def stranger(subject: Subject) -> Subject:
    """Another person with another reference in the same scenes."""
    seed = subject.seed + STRANGER_OFFSET
    return replace(subject, person=sample_person(seed), seed=seed)
