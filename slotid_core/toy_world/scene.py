"""Where somebody is and what they do: action, background, clothes, light, camera."""

from dataclasses import dataclass

import numpy as np

ACTIONS = ("smile", "nod", "look around", "talk", "laugh", "be surprised")
LOOK_AROUND = ACTIONS.index("look around")
BACKGROUNDS = ("meadow", "beach", "night city", "library", "kitchen", "studio")
CLOTHES = ("red sweater", "blue shirt", "striped top", "green hoodie", "yellow raincoat", "black suit")


@dataclass(frozen=True)
class Scene:
    """`light_side` -1 to 1, `light` 0.75 to 1.1, `warmth` -1 to 1; `zoom`, `shift_x`, `shift_y`, `yaw`, `phase` are
    small camera and pose changes; all of them differ between two scenes of the same words."""

    action: int
    background: int
    clothes: int
    light: float = 1.0
    light_side: float = 0.0
    warmth: float = 0.0
    zoom: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    yaw: float = 0.0
    phase: float = 0.0


def sample_scene(seed: int, action: int | None = None, background: int | None = None, clothes: int | None = None):
    """The scene of this seed; what is given by name index is kept."""
    rng = np.random.default_rng((seed, 23))
    drawn = (rng.integers(len(ACTIONS)), rng.integers(len(BACKGROUNDS)), rng.integers(len(CLOTHES)))
    action, background, clothes = (
        int(random if given is None else given)
        for given, random in zip((action, background, clothes), drawn, strict=True)
    )
    return Scene(
        action=action,
        background=background,
        clothes=clothes,
        light=float(rng.uniform(0.8, 1.08)),
        light_side=float(rng.uniform(-1, 1)),
        warmth=float(rng.uniform(-1, 1)),
        zoom=float(rng.uniform(0.92, 1.08)),
        shift_x=float(rng.uniform(-0.1, 0.1)),
        shift_y=float(rng.uniform(-0.05, 0.05)),
        yaw=float(rng.uniform(-0.18, 0.18)),
        phase=float(rng.uniform(0, 1)),
    )
