"""Identities of the toy world: looks, marks that a frontal portrait hides, and dynamics of movement."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

HAIR_STYLES = ("short", "long", "bob", "bun", "curly", "spiky", "bald")
GLASSES = ("none", "round", "square")
BEARDS = ("none", "stubble", "full", "goatee", "moustache")
SKIN_TONES = ("#f6d7bf", "#ecc09c", "#d9a27a", "#b97c53", "#8d5a3b", "#5f3a28")
HAIR_COLORS = ("#23201f", "#4a2f22", "#7a4a2a", "#b5793c", "#dcb765", "#b8452c", "#8d8f96", "#e6e3dc")
EYE_COLORS = ("#4b3322", "#2f6db0", "#3f8a5a", "#6f7f8c", "#8a6a2f")
FRAME_COLORS = ("#1f1f26", "#8a2d2d", "#2d4f8a", "#b08a3c")

# Identities of these seeds are never trained on; every study and test of generalisation draws from them.
HELD_OUT_FROM = 1_000_000


@dataclass(frozen=True)
class Person:
    """Continuous factors lie in [0, 1] unless noted; categorical ones index the tuples above.

    `DYNAMICS` can be seen only in motion, `MARKS` only when the head turns.
    """

    skin: float
    hair_color: int
    hair_style: int
    hair_volume: float
    face_width: float
    jaw: float
    eye_color: int
    eye_size: float
    eye_spacing: float
    brow_thickness: float
    brow_tilt: float
    nose_width: float
    nose_length: float
    mouth_width: float
    lip_fullness: float
    ear_size: float
    glasses: int
    frame_color: int
    beard: int
    freckles: float
    blush: float
    temple_mark: int  # -1 on the left, 1 on the right, 0 none; likewise the two below
    neck_tattoo: int
    ear_stud: int
    smile_asymmetry: float  # -1 the left corner leads, 1 the right
    smile_onset: float
    nod_frequency: float
    nod_amplitude: float
    talk_cadence: float
    sway: float


MARKS = ("temple_mark", "neck_tattoo", "ear_stud")
DYNAMICS = ("smile_asymmetry", "smile_onset", "nod_frequency", "nod_amplitude", "talk_cadence", "sway")
KINDS = {
    "hair_color": HAIR_COLORS,
    "hair_style": HAIR_STYLES,
    "eye_color": EYE_COLORS,
    "glasses": GLASSES,
    "frame_color": FRAME_COLORS,
    "beard": BEARDS,
}
APPEARANCE = tuple(field.name for field in fields(Person) if field.name not in MARKS + DYNAMICS)


def sample_person(seed: int) -> Person:
    """The person of this seed, always the same. Seeds from `HELD_OUT_FROM` on are for held-out people."""
    rng = np.random.default_rng((seed, 17))

    def unit() -> float:
        return float(rng.random())

    def one_of(count: int, weights=None) -> int:
        return int(rng.choice(count, p=weights))

    def side() -> int:
        return int(rng.choice([-1, 0, 1]))

    return Person(
        skin=unit(),
        hair_color=one_of(len(HAIR_COLORS)),
        hair_style=one_of(len(HAIR_STYLES)),
        hair_volume=unit(),
        face_width=unit(),
        jaw=unit(),
        eye_color=one_of(len(EYE_COLORS)),
        eye_size=unit(),
        eye_spacing=unit(),
        brow_thickness=unit(),
        brow_tilt=unit(),
        nose_width=unit(),
        nose_length=unit(),
        mouth_width=unit(),
        lip_fullness=unit(),
        ear_size=unit(),
        glasses=one_of(len(GLASSES), (0.56, 0.22, 0.22)),
        frame_color=one_of(len(FRAME_COLORS)),
        beard=one_of(len(BEARDS), (0.56, 0.11, 0.11, 0.11, 0.11)),
        freckles=unit() if rng.random() < 0.3 else 0.0,
        blush=unit(),
        temple_mark=side(),
        neck_tattoo=side(),
        ear_stud=side(),
        smile_asymmetry=2 * unit() - 1,
        smile_onset=unit(),
        nod_frequency=unit(),
        nod_amplitude=unit(),
        talk_cadence=unit(),
        sway=unit(),
    )


def factors_of(person: Person) -> Tensor:
    """All that there is to know of a person, (F,) in [-1, 1]: one place for each choice, one for each number."""
    values: list[float] = []
    for entry in fields(Person):
        value = getattr(person, entry.name)
        if entry.name in KINDS:
            values += [float(value == kind) for kind in range(len(KINDS[entry.name]))]
        elif entry.name in MARKS:
            values += [float(value == side) for side in (-1, 0, 1)]
        else:
            values.append(value if entry.name == "smile_asymmetry" else 2 * value - 1)
    return torch.tensor(values)
