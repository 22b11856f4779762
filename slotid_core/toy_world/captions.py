"""Words for scenes, in several phrasings, and the words that the toy world knows."""

import re

import numpy as np

from .descriptions import describe, every_phrase, visible_factors
from .person import Person
from .scene import Scene

# In the order of `scene.ACTIONS`, `scene.BACKGROUNDS` and `scene.CLOTHES`.
ACTION_PHRASES = (
    ("smiles", "is smiling", "breaks into a smile"),
    ("nods", "is nodding", "nods in agreement"),
    ("looks around", "turns the head", "is looking around"),
    ("talks", "is talking", "speaks to the camera"),
    ("laughs", "is laughing", "bursts out laughing"),
    ("looks surprised", "is surprised", "opens the mouth in surprise"),
)
PLACE_PHRASES = (
    ("in a sunny meadow", "on a green meadow", "in a meadow with flowers"),
    ("on a beach at sunset", "at the beach", "in front of the sea at sunset"),
    ("in a city at night", "in front of a night skyline", "in a dark city with lit windows"),
    ("in a library", "in front of shelves full of books", "among the books of a library"),
    ("in a bright kitchen", "in a kitchen with white tiles", "in the kitchen"),
    ("in a studio", "in front of a violet studio wall", "under the lights of a studio"),
)
CLOTHES_PHRASES = (
    ("wearing a red sweater", "in a red sweater", "dressed in a red knitted sweater"),
    ("wearing a blue shirt", "in a blue shirt", "dressed in a blue shirt with buttons"),
    ("wearing a striped top", "in a striped top", "dressed in a top with stripes"),
    ("wearing a green hoodie", "in a green hoodie", "dressed in a green hoodie"),
    ("wearing a yellow raincoat", "in a yellow raincoat", "dressed in a yellow coat"),
    ("wearing a black suit", "in a black suit", "dressed in a black suit and tie"),
)
SUBJECTS = ("a person", "someone", "the person")
TEMPLATES = (
    "{subject} {clothes} {action} {place}.",
    "{place}, {subject} {clothes} {action}.",
    "{subject} {action} {place}, {clothes}.",
    "a video of {subject} who {action} {place}, {clothes}.",
)
# Behind the subject | behind the sentence.
DESCRIBED = (" with {looks}|", " with {looks}|", " with {looks}|", "| The person has {looks}.")


def caption(scene: Scene, seed: int, description: tuple[str, ...] = ()) -> str:
    """One of many captions of a scene. Only the phrases of `description` say anything of the identity."""
    rng = np.random.default_rng((seed, 37))

    def one_of(options: tuple[str, ...]) -> str:
        return options[int(rng.integers(len(options)))]

    template = one_of(TEMPLATES)
    said = {
        "subject": one_of(SUBJECTS),
        "action": one_of(ACTION_PHRASES[scene.action]),
        "place": one_of(PLACE_PHRASES[scene.background]),
        "clothes": one_of(CLOTHES_PHRASES[scene.clothes]),
    }
    behind = ""
    if description:
        inside, behind = one_of(DESCRIBED).format(looks=listed(description)).split("|")
        said["subject"] += inside
    text = template.format(**said)
    return text[0].upper() + text[1:] + behind


def full_description(person: Person, scene: Scene, seed: int) -> str:
    """A caption of a scene that says all the scene shows of somebody; the same for the same seed."""
    rng = np.random.default_rng((seed, 59))
    names = tuple(rng.permutation(visible_factors(person, scene)))
    return caption(scene, seed, describe(person, rng, names))


def listed(phrases: tuple[str, ...]) -> str:
    """("a", "b", "c") -> "a, b and c"."""
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)


def asked_for(prompt: str) -> dict[str, int]:
    """What a prompt asks for: indices into `scene.ACTIONS`, `BACKGROUNDS` and `CLOTHES`, where it names one."""
    said = " ".join(words(prompt))
    found = {}
    for what, group in (("action", ACTION_PHRASES), ("background", PLACE_PHRASES), ("clothes", CLOTHES_PHRASES)):
        for index, phrases in enumerate(group):
            if any(" ".join(words(phrase)) in said for phrase in phrases):
                found[what] = index
    return found


def known_words(with_looks: bool = True) -> list[str]:
    """Every word of every caption, in alphabetical order; without looks, those of captions that describe nobody."""
    phrases = [*SUBJECTS, "a video of who", *([*DESCRIBED, *every_phrase()] if with_looks else [])]
    phrases += [phrase for group in (*ACTION_PHRASES, *PLACE_PHRASES, *CLOTHES_PHRASES) for phrase in group]
    return sorted({word for phrase in phrases for word in words(phrase.format(looks=""))})


def unknown_words(prompt: str, with_looks: bool = True) -> list[str]:
    """Words of a prompt that no caption has, in order of appearance; `with_looks` as for `known_words`."""
    known = set(known_words(with_looks))
    return [word for word in dict.fromkeys(words(prompt)) if word not in known]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())
