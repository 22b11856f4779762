"""Words for somebody's looks and ways of moving, as far as a scene shows them.

Left and right are the picture's. An adjective stands directly before its noun, because the text encoder binds a word
to its neighbours and to nothing else (`text_encoder.py`).
"""

from collections.abc import Iterable

import numpy as np

from .judges import REVEALS
from .person import MARKS, Person
from .scene import ACTIONS, LOOK_AROUND, Scene

LEVELS = 5
SKIN = ("pale", "light", "tan", "bronze", "brown", "dark")
HAIR_COLOR = ("black", "chestnut", "brown", "golden", "blond", "red", "gray", "white")
EYE_COLOR = ("brown", "blue", "green", "gray", "amber")
FRAME_COLOR = ("black", "red", "blue", "golden")
# In the order of `person.HAIR_STYLES`; nobody who is bald has any.
HAIR_STYLE = ("short", "long", "bobbed", "knotted", "curly", "spiky")
GLASSES = ("no", "round", "square")
BEARD = (
    ("no beard", "a shaved chin"),
    ("stubble", "a stubbly chin"),
    ("a full beard", "a bushy beard"),
    ("a goatee", "a goatee beard"),
    ("a moustache", "a moustache only"),
)
# Lowest word, middle, highest, noun; of more than one row, each says the same.
SCALES = {
    "hair_volume": (("flat", "medium", "puffy", "hair"),),
    "face_width": (("narrow", "medium", "wide", "face"),),
    "jaw": (("broad", "medium", "pointed", "chin"), ("square", "medium", "tapered", "jaw")),
    "eye_size": (("small", "medium", "large", "eyes"), ("little", "medium", "big", "eyes")),
    "eye_spacing": (("closeset", "evenset", "wideset", "eyes"),),
    "brow_thickness": (("thin", "medium", "thick", "brows"), ("thin", "medium", "thick", "eyebrows")),
    "brow_tilt": (("stern", "level", "sad", "brows"), ("stern", "level", "sad", "eyebrows")),
    "nose_width": (("narrow", "medium", "wide", "nose"), ("slim", "medium", "broad", "nose")),
    "nose_length": (("short", "moderate", "long", "nose"),),
    "mouth_width": (("narrow", "medium", "wide", "mouth"), ("small", "medium", "broad", "mouth")),
    "lip_fullness": (("thin", "medium", "full", "lips"), ("slim", "medium", "thick", "lips")),
    "ear_size": (("small", "medium", "large", "ears"), ("little", "medium", "big", "ears")),
    "blush": (("faint", "medium", "strong", "blush"), ("plain", "warm", "rosy", "cheeks")),
    "smile_onset": (("quick", "steady", "slow", "smile"), ("sudden", "steady", "gradual", "smile")),
    "nod_frequency": (("slow", "steady", "fast", "nods"), ("slow", "steady", "quick", "nods")),
    "nod_amplitude": (("shallow", "moderate", "deep", "nods"), ("small", "moderate", "big", "nods")),
    "talk_cadence": (("slow", "steady", "fast", "speech"), ("slow", "steady", "quick", "speech")),
    "sway": (("weak", "medium", "strong", "sway"), ("still", "calm", "swaying", "head")),
}
WITHOUT_PLURAL = ("face", "chin", "jaw", "nose", "mouth", "smile", "head", "sway")  # these need an article
SMILES = (
    ("a very left smile", "a left smile", "an even smile", "a right smile", "a very right smile"),
    (
        "a smile led much by the left corner", "a smile led by the left corner", "a smile led by both corners",
        "a smile led by the right corner", "a smile led much by the right corner",
    ),
)  # fmt: skip
# Of each mark: none, and where it is.
MARK_PHRASES = {
    "temple_mark": ("no mark", ("a mark on the {side} temple", "a red mark on the {side} temple")),
    "neck_tattoo": ("no star", ("a star on the {side} side of the neck", "a blue star on the {side} side of the neck")),
    "ear_stud": ("no stud", ("a stud in the {side} ear", "a yellow stud in the {side} ear")),
}
ALWAYS = (
    "skin", "hair", "hair_volume", "face_width", "jaw", "eye_color", "eye_size", "eye_spacing", "brow_thickness",
    "brow_tilt", "nose_width", "nose_length", "mouth_width", "lip_fullness", "ear_size", "glasses", "beard", "freckles",
    "blush",
)  # fmt: skip


def visible_factors(person: Person, scene: Scene) -> tuple[str, ...]:
    """What a clip of this scene shows of somebody: looks, dynamics of the action, marks when the head turns."""
    looks = tuple(name for name in ALWAYS if name != "hair_volume" or person.hair_style < len(HAIR_STYLE))
    marks = MARKS if scene.action == LOOK_AROUND else ()
    return looks + marks + REVEALS[ACTIONS[scene.action]]


def some_factors(person: Person, scene: Scene, rng: np.random.Generator, at_most: int) -> tuple[str, ...]:
    """A random number of visible factors up to `at_most`, in a random order."""
    names = visible_factors(person, scene)
    count = int(rng.integers(min(at_most, len(names)) + 1))
    return tuple(names[i] for i in rng.permutation(len(names))[:count])


def describe(person: Person, rng: np.random.Generator, factors: Iterable[str]) -> tuple[str, ...]:
    """One phrase for each factor, in the order of `factors`; of several ways to say it, a random one."""
    phrases = []
    for name in factors:
        ways = ways_to_say(person, name)
        phrases.append(ways[int(rng.integers(len(ways)))])
    return tuple(phrases)


def ways_to_say(person: Person, factor: str) -> tuple[str, ...]:
    """Every phrase that is true of a factor of `visible_factors`."""
    if factor in SPECIAL:
        return SPECIAL[factor](person)
    value = getattr(person, factor)
    if factor in MARK_PHRASES:
        none, somewhere = MARK_PHRASES[factor]
        return tuple(phrase.format(side="left" if value < 0 else "right") for phrase in somewhere) if value else (none,)
    return tuple(scale_phrase(scale, level(value)) for scale in SCALES[factor])


def level(value: float, count: int = LEVELS) -> int:
    """A fifth of [0, 1], or one of `count` equal parts."""
    return min(count - 1, max(0, int(value * count)))


def scale_phrase(scale: tuple[str, str, str, str], at: int) -> str:
    low, middle, high, noun = scale
    words = f"{(f'very {low}', low, middle, high, f'very {high}')[at]} {noun}"
    if noun not in WITHOUT_PLURAL:
        return words
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _hair(person: Person) -> tuple[str, ...]:
    color = HAIR_COLOR[person.hair_color]
    if person.hair_style == len(HAIR_STYLE):  # the colour shows in brows and beard
        return f"a bald head and {color} brows", f"a bald head and {color} eyebrows"
    style = HAIR_STYLE[person.hair_style]
    return f"{style} {color} hair", f"{color} {style} hair"


def _glasses(person: Person) -> tuple[str, ...]:
    if not person.glasses:
        return "no glasses", "no spectacles"
    shape, color = GLASSES[person.glasses], FRAME_COLOR[person.frame_color]
    return f"{shape} {color} glasses", f"{color} {shape} glasses", f"{shape} {color} spectacles"


def _skin(person: Person) -> tuple[str, ...]:
    tone = SKIN[round(person.skin * (len(SKIN) - 1))]
    return f"{tone} skin", f"a {tone} complexion"


SPECIAL = {
    "skin": _skin,
    "hair": _hair,
    "glasses": _glasses,
    "beard": lambda person: BEARD[person.beard],
    "freckles": lambda person: ("freckles", "freckled cheeks") if person.freckles else ("no freckles", "clear cheeks"),
    "eye_color": lambda person: (f"{EYE_COLOR[person.eye_color]} eyes",),
    "smile_asymmetry": lambda person: tuple(way[level((person.smile_asymmetry + 1) / 2)] for way in SMILES),
}


def every_phrase() -> list[str]:
    """Text that holds every word of every description."""
    scales = [scale_phrase(scale, at) for ways in SCALES.values() for scale in ways for at in range(LEVELS)]
    marks = [text for none, ways in MARK_PHRASES.values() for text in (none, *ways)]
    looks = (*SKIN, *HAIR_COLOR, *EYE_COLOR, *FRAME_COLOR, *HAIR_STYLE, *GLASSES)
    other = "a bald head and skin complexion hair eyes glasses spectacles brows eyebrows freckles freckled clear cheeks"
    sides = [text.format(side=side) for text in marks for side in ("left", "right")]
    return [*scales, *sides, *looks, other, *sum(SMILES, ()), *sum(BEARD, ())]
