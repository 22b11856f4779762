"""How somebody moves: from a person's dynamics and an action to the pose and expression of every frame."""

import math
from dataclasses import dataclass, fields

import numpy as np

from .person import Person
from .scene import ACTIONS, Scene

CLIP_FRAMES = 17


@dataclass(frozen=True)
class Motion:
    """Per frame, arrays (T,): yaw, pitch and roll in radians, expression 0 to 1, smile of each corner -0.3 to 1."""

    yaw: np.ndarray
    pitch: np.ndarray
    roll: np.ndarray
    smile_left: np.ndarray
    smile_right: np.ndarray
    mouth_open: np.ndarray
    brow_raise: np.ndarray
    eye_open: np.ndarray
    bob: np.ndarray

    def frames(self, start: int, end: int) -> "Motion":
        return Motion(*(getattr(self, f.name)[start:end] for f in fields(self)))

    def concatenate(self, other: "Motion") -> "Motion":
        return Motion(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


def move(person: Person, scene: Scene, num_frames: int = CLIP_FRAMES) -> Motion:
    """One action, begun at rest; `CLIP_FRAMES` are one or two seconds, whatever `num_frames` is.

    Nothing swings faster than once in five frames: the VAE has one latent frame for four.
    """
    t = np.arange(num_frames) / CLIP_FRAMES
    rest = np.zeros(num_frames)
    phase = 2 * math.pi * scene.phase
    pose = {
        "yaw": scene.yaw + 0.03 * np.sin(2 * math.pi * t + phase),
        "pitch": rest.copy(),
        "roll": 0.14 * person.sway * np.sin(2 * math.pi * (0.6 + 0.6 * person.sway) * t + phase),
        "smile_left": rest + 0.12,
        "smile_right": rest + 0.12,
        "mouth_open": rest.copy(),
        "brow_raise": rest.copy(),
        "eye_open": 1.0 - np.exp(-(((t - (0.25 + 0.5 * scene.phase)) / 0.09) ** 2)),
        "bob": rest.copy(),
    }
    ACT[ACTIONS[scene.action]](person, t, phase, pose)
    return Motion(**pose)


def _onset(person: Person, t: np.ndarray) -> np.ndarray:
    """0 to 1: how quickly an expression comes, slowly for a `smile_onset` of 1."""
    duration = 0.25 + 0.6 * person.smile_onset
    x = np.clip((t - 0.06) / duration, 0, 1)
    return x * x * (3 - 2 * x)


def _smile(person: Person, amount: np.ndarray, pose: dict) -> None:
    pose["smile_left"] = pose["smile_left"] + amount * (1 - 0.9 * max(0.0, person.smile_asymmetry))
    pose["smile_right"] = pose["smile_right"] + amount * (1 + 0.9 * min(0.0, person.smile_asymmetry))


def _act_smile(person: Person, t, phase, pose) -> None:
    _smile(person, 0.95 * _onset(person, t), pose)


def _act_nod(person: Person, t, phase, pose) -> None:
    cycles = 0.75 + 1.25 * person.nod_frequency
    pose["pitch"] = (0.08 + 0.3 * person.nod_amplitude) * np.sin(2 * math.pi * cycles * t)


def turn_of(scene: Scene) -> float:
    """1 if somebody who looks around turns to the right in this scene, else -1."""
    return _direction(2 * math.pi * scene.phase)


def _direction(phase: float) -> float:
    return 1.0 if math.sin(phase) >= 0 else -1.0


def _act_look_around(person: Person, t, phase, pose) -> None:
    direction = _direction(phase)
    pose["yaw"] = pose["yaw"] * 0.5 + 0.85 * direction * np.sin(math.pi * t * CLIP_FRAMES / (CLIP_FRAMES - 1))


def _act_talk(person: Person, t, phase, pose) -> None:
    syllables = 1.0 + 2.0 * person.talk_cadence
    pose["mouth_open"] = 0.75 * np.sin(math.pi * syllables * t) ** 2
    pose["pitch"] = 0.04 * np.sin(2 * math.pi * syllables * t)


def _act_laugh(person: Person, t, phase, pose) -> None:
    come = _onset(person, 1.6 * t)
    _smile(person, come, pose)
    pose["mouth_open"] = come * (0.55 + 0.25 * np.sin(2 * math.pi * 2.5 * t))
    pose["bob"] = come * 0.035 * np.sin(2 * math.pi * 2.5 * t)
    pose["eye_open"] = pose["eye_open"] * (1 - 0.55 * come)
    pose["pitch"] = -0.12 * come


def _act_be_surprised(person: Person, t, phase, pose) -> None:
    come = np.clip((t - 0.1) / 0.3, 0, 1)
    pose["brow_raise"] = come
    pose["mouth_open"] = 0.85 * come
    pose["eye_open"] = pose["eye_open"] * (1 + 0.25 * come)
    pose["smile_left"] = pose["smile_right"] = 0.12 - 0.3 * come
    pose["bob"] = -0.03 * come


ACT = {
    "smile": _act_smile,
    "nod": _act_nod,
    "look around": _act_look_around,
    "talk": _act_talk,
    "laugh": _act_laugh,
    "be surprised": _act_be_surprised,
}
