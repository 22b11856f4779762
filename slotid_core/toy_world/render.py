"""Draws people: a vectorised flat illustration of head and shoulders, every frame of every clip at once.

The head is a ball seen from the front: a feature at longitude φ sits at sin(φ + yaw) and is hidden once it has turned
away, so marks on the side of the head appear only when it turns.
"""

from dataclasses import replace
from functools import lru_cache, reduce

import numpy as np
import torch
from torch import Tensor

from . import backdrop
from .canvas import (
    BACKGROUND,
    BODY,
    BROWS,
    EYES,
    HAIR,
    MOUTH,
    NOSE,
    SKIN,
    Canvas,
    arc,
    box,
    color,
    column,
    ellipse,
    segment,
    union,
)
from .clothes import dress
from .figure import HEAD_HEIGHT, Figure
from .motion import CLIP_FRAMES, Motion, move
from .person import BEARDS, EYE_COLORS, FRAME_COLORS, GLASSES, HAIR_STYLES, Person
from .scene import ACTIONS, Scene, sample_scene

FRAME_SIZE = 64
PORTRAIT_BACKGROUND = "#ffffff"
PIXELS_AT_ONCE = 9 * 128 * 128
CLOSE_UP = 1.2
# The head turns about a point of the neck. Lengths are halves of a frame's side at zoom 1.
PIVOT, NECK, DROP = 0.35, 0.12, 0.02
REVEALING = ("smile", "look around", "nod", "talk", "look around")


def render_clip(person: Person, scene: Scene, num_frames: int = CLIP_FRAMES, size: int = FRAME_SIZE) -> Tensor:
    """One action in one scene. (T, size, size, 3) in [0, 1]."""
    return render_clips([person], [scene], num_frames, size)[0]


def render_clips(people: list[Person], scenes: list[Scene], num_frames: int = CLIP_FRAMES, size: int = FRAME_SIZE):
    """Many clips at once, which is several times faster. (B, T, size, size, 3) in [0, 1]."""
    motions = [move(person, scene, num_frames) for person, scene in zip(people, scenes, strict=True)]
    return draw(people, scenes, motions, size)


def render_pieces(people: list[Person], scenes: list[Scene], starts: list[int], num_frames: int) -> Tensor:
    """Neighbouring frames of each clip, from a start of its own. (B, num_frames, 64, 64, 3) in [0, 1]"""
    moved = [move(person, scene) for person, scene in zip(people, scenes, strict=True)]
    pieces = [motion.frames(at, at + num_frames) for motion, at in zip(moved, starts, strict=True)]
    return draw(people, scenes, pieces, FRAME_SIZE)


def reference_motion(person: Person, seed: int, num_frames: int = 65) -> tuple[Scene, Motion]:
    """Somebody smiles, nods, talks and looks to both sides, in an order of the seed's: marks and dynamics show.

    Each of the five actions takes a fifth of the frames.
    """
    rng = np.random.default_rng((seed, 29))
    scene = sample_scene(seed)
    part = max(1, -(-num_frames // len(REVEALING)))
    parts = []
    for action in rng.permutation(REVEALING):
        parts.append(move(person, replace(scene, action=ACTIONS.index(action)), part))
        if action == "look around":
            scene = replace(scene, phase=(scene.phase + 0.5) % 1)  # the next time to the other side
    return scene, reduce(Motion.concatenate, parts).frames(0, num_frames)


def render_reference(person: Person, seed: int, num_frames: int = 65, size: int = FRAME_SIZE) -> Tensor:
    """A clip of `reference_motion`. (T, size, size, 3)."""
    scene, motion = reference_motion(person, seed, num_frames)
    return draw([person], [scene], [motion], size)[0]


def render_portrait(person: Person, size: int = FRAME_SIZE) -> Tensor:
    """The neutral face from the front on a plain background. (size, size, 3)."""
    scene, motion = portrait_motion()
    return draw([person], [scene], [motion], size, plain_background=True)[0, 0]


def portrait_motion() -> tuple[Scene, Motion]:
    """One frame at rest."""
    rest = np.zeros(1)
    return Scene(action=0, background=0, clothes=0), Motion(
        rest, rest, rest, rest + 0.12, rest + 0.12, rest, rest, rest + 1, rest
    )


def head_boxes(scene: Scene, motion: Motion, size: int = FRAME_SIZE) -> np.ndarray:
    """Where the head is drawn, without hair that stands off: a square per frame, as a face detector draws it.

    Returns:
        (T, 4) left, top, right, bottom in pixels of a frame of `size`.
    """
    zoom = CLOSE_UP * scene.zoom
    x = zoom * (PIVOT + NECK) * np.sin(motion.roll) + scene.shift_x
    y = zoom * (PIVOT - (PIVOT + NECK) * np.cos(motion.roll) + motion.bob) + scene.shift_y + DROP
    half = np.full_like(x, zoom * HEAD_HEIGHT)
    return (np.stack([x - half, y - half, x + half, y + half], axis=1) + 1) * size / 2


def draw(
    people: list[Person], scenes: list[Scene], motions: list[Motion], size: int, plain_background: bool = False
) -> Tensor:
    """(B, T, size, size, 3) in [0, 1]; all motions have the same length."""
    pieces = _pieces(people, scenes, motions, size)
    return torch.cat([draw_at_once(*piece, size, plain_background) for piece in pieces], dim=1)


def draw_parts(people: list[Person], scenes: list[Scene], motions: list[Motion], size: int) -> tuple[Tensor, Tensor]:
    """Frames (B, T, size, size, 3) as `draw` gives them, and what each pixel shows, (B, T, size, size, 8).

    The parts are those of `canvas`; they sum to 1, and all but the first of them are the person.
    """
    drawn = [_parts_at_once(*piece, size) for piece in _pieces(people, scenes, motions, size)]
    frames, parts = zip(*drawn, strict=True)
    return torch.cat(frames, dim=1), torch.cat(parts, dim=1)


def _pieces(people: list[Person], scenes: list[Scene], motions: list[Motion], size: int):
    """A few frames of everybody at a time: what fits into a CPU's cache takes a third of the time."""
    piece = max(1, PIXELS_AT_ONCE // (len(people) * size * size))
    for start in range(0, len(motions[0].yaw), piece):
        yield people, scenes, [motion.frames(start, start + piece) for motion in motions]


def draw_at_once(
    people: list[Person], scenes: list[Scene], motions: list[Motion], size: int, plain_background: bool
) -> Tensor:
    figure = Figure(people, scenes, motions)
    return _drawn(figure, Canvas(len(figure.yaw), size), len(people), plain_background)


def _parts_at_once(
    people: list[Person], scenes: list[Scene], motions: list[Motion], size: int
) -> tuple[Tensor, Tensor]:
    figure = Figure(people, scenes, motions)
    canvas = Canvas(len(figure.yaw), size, with_parts=True)
    frames = _drawn(figure, canvas, len(people), plain_background=False)
    assert canvas.parts is not None
    return frames, canvas.parts.unflatten(0, (len(people), -1)).permute(0, 1, 3, 4, 2)


@lru_cache(maxsize=16)
def _backdrop(index: int, size: int) -> Tensor:
    """(1, 3, size, size), a place without anybody in it."""
    canvas = Canvas(1, size)
    backdrop.DRAW[index](canvas)
    return canvas.pixels


def _drawn(figure: Figure, canvas: Canvas, num_people: int, plain_background: bool) -> Tensor:
    size = canvas.pixels.shape[-1]
    if canvas.parts is not None:
        canvas.parts[:, BACKGROUND] = 1
    if plain_background:
        canvas.paint(torch.ones_like(canvas.x), color(PORTRAIT_BACKGROUND))
    else:
        for index in figure.scene_background.unique().tolist():
            canvas.pixels[figure.scene_background == index] = _backdrop(index, size)
    screen_x, screen_y = canvas.x, canvas.y
    zoom = CLOSE_UP * column(figure.scene_zoom)
    canvas.x = (screen_x - column(figure.scene_shift_x)) / zoom
    canvas.y = (screen_y - column(figure.scene_shift_y) - DROP) / zoom - column(figure.bob)

    body_x, body_y = canvas.x, canvas.y
    roll = column(figure.roll)
    pivot = body_y - PIVOT
    head = Head(
        figure,
        body_x * roll.cos() + pivot * roll.sin(),
        pivot * roll.cos() - body_x * roll.sin() + PIVOT + NECK,
    )
    canvas.part = HAIR
    head.back_hair(canvas)
    canvas.part = BODY
    dress(canvas, figure, body_x, body_y)
    head.neck_mark(canvas, body_x, body_y)
    head.draw(canvas)

    if not plain_background:
        light = column(figure.scene_light) * (1 + 0.13 * column(figure.scene_light_side) * screen_x)
        warmth = figure.scene_warmth[:, None, None, None] * torch.tensor([0.04, 0.0, -0.05]).view(1, 3, 1, 1)
        canvas.pixels = canvas.pixels * light.unsqueeze(1) * (1 + warmth)
    frames = canvas.pixels.clamp(0, 1).unflatten(0, (num_people, -1))
    return frames.permute(0, 1, 3, 4, 2)


class Head:
    """Everything above the shoulders, in coordinates whose origin is the middle of the face."""

    def __init__(self, figure: Figure, x: Tensor, y: Tensor):
        self.f, self.x, self.y = figure, x, y
        self.features_y = y - 0.22 * column(figure.pitch)

    def at(self, longitude, y) -> tuple[Tensor, Tensor, Tensor]:
        """Local coordinates about a point on the ball, and how much of it faces us (0 when turned away)."""
        angle = torch.as_tensor(longitude) + self.f.yaw
        facing = torch.cos(angle)
        x = (self.x - column(0.98 * self.f.head_width * torch.sin(angle))) / column(facing.clamp(min=0.25))
        return x, self.features_y - column(y), facing.sub(0.12).mul(5).clamp(0, 1)

    def back_hair(self, canvas: Canvas) -> None:
        f = self.f
        sizes = {
            "long": (0.14, 0.62, 0.16),
            "bob": (0.13, 0.34, 0.0),
            "curly": (0.17, 0.2, -0.1),
            "bun": (0.0, 0.0, 0.0),
        }
        for style, (wider, longer, lower) in sizes.items():
            rows = f.hair_style == HAIR_STYLES.index(style)
            if not rows.any():
                continue
            volume = 1 + 0.25 * (f.hair_volume - 0.5)
            if style == "bun":
                shape = ellipse(self.x + column(0.05 * f.yaw), self.y + 0.58, 0.17 * volume, 0.16 * volume)
            elif style == "curly":
                shape = ellipse(self.x, self.y + 0.1, (f.head_width + wider) * volume, 0.55 * volume)
                shape = shape + 0.025 * torch.sin(14 * torch.atan2(self.y + 0.1, self.x))
            else:
                shape = box(self.x, self.y - lower, (f.head_width + wider) * volume, 0.28 + longer * 0.6, 0.3)
            canvas.fill(shape, f.hair_tone * 0.82, rows.float())

    def neck_mark(self, canvas: Canvas, x: Tensor, y: Tensor) -> None:
        f = self.f
        if not f.neck_tattoo.any():
            return
        side = f.neck_tattoo.float()
        shown = (f.neck_tattoo != 0) * torch.sin(-f.yaw * side).sub(0.25).mul(4).clamp(0, 1)
        offset = column(0.1 * side + 0.1 * torch.sin(f.yaw))
        star_x, star_y = x - offset, y - 0.4
        star = union(box(star_x, star_y, 0.05, 0.016), box(star_x, star_y, 0.016, 0.05))
        canvas.fill(star, color("#1f4e79"), shown)

    def draw(self, canvas: Canvas) -> None:
        canvas.part = SKIN
        self.ears(canvas)
        self.on_face = canvas.cover(self.outline(0.02))  # what sits on the face ends where the face does
        self.face(canvas)
        self.beard(canvas)
        canvas.part = MOUTH
        self.mouth(canvas)
        canvas.part = NOSE
        self.nose(canvas)
        for side in (-1, 1):
            self.eye(canvas, side)
        canvas.part = BROWS
        for side in (-1, 1):
            self.brow(canvas, side)
        canvas.part = None
        self.marks(canvas)
        canvas.part = HAIR
        self.front_hair(canvas)
        canvas.part = None
        self.spectacles(canvas)

    def outline(self, grow: float = 0.0) -> Tensor:
        """Distance to the face's outline: an ellipse above, narrower towards the chin with a high `jaw`."""
        f = self.f
        taper = 1 - column(0.05 + 0.2 * f.jaw) * (self.y / 0.48).clamp(0, 1) ** 2
        return ellipse(self.x / taper, self.y, f.head_width + grow, f.head_height + grow)

    def ears(self, canvas: Canvas) -> None:
        f = self.f
        radius = 0.075 + 0.04 * f.ear_size
        for side in (-1, 1):
            x = self.x - column(f.head_width * (side * torch.cos(f.yaw) - 0.25 * torch.sin(f.yaw)) * 1.02)
            y = self.y - 0.03 - 0.1 * column(f.pitch)
            canvas.fill(ellipse(x, y, 0.7 * radius, radius), f.skin_shade)
            canvas.fill(ellipse(x, y, 0.35 * radius, 0.6 * radius), f.skin_color * 0.72)
            # An ear faces us when the head turns the other way, and then its stud is seen.
            if not f.ear_stud.any():
                continue
            shown = (f.ear_stud == side) * torch.sin(-side * f.yaw).sub(0.25).mul(4).clamp(0, 1)
            canvas.fill(ellipse(x, y - column(0.95 * radius), 0.045, 0.045), color("#f5c518"), shown)

    def face(self, canvas: Canvas) -> None:
        f = self.f
        canvas.fill(self.outline(), f.skin_color)
        for side in (-1, 1):
            x, y, facing = self.at(side * 0.75, 0.14)
            if f.blush.any():
                blush = torch.exp(-((x / 0.1) ** 2) - (y / 0.075) ** 2)
                canvas.paint(blush * column(0.5 * f.blush * facing) * canvas.cover(self.outline()), color("#e8836f"))
            if f.freckles.any():
                for dx, dy in ((-0.05, -0.02), (0.03, -0.04), (-0.01, 0.03), (0.07, 0.02)):
                    freckle = ellipse(x - dx, y + 0.02 - dy, 0.014, 0.014)
                    canvas.fill(freckle, f.skin_color * 0.68, (f.freckles > 0) * facing)

    def beard(self, canvas: Canvas) -> None:
        f = self.f
        if not f.beard.any():
            return
        x, y, _ = self.at(0.0, 0.26)
        edge = 0.2 - 0.24 * (self.x / column(f.head_width)) ** 2
        lower = canvas.cover(self.outline(0.005)) * canvas.cover(edge - self.features_y)
        for name, opacity in (("stubble", 0.35), ("full", 0.95)):
            canvas.paint(lower * column(opacity * (f.beard == BEARDS.index(name))), f.hair_tone * 0.9)
        goatee = (f.beard == BEARDS.index("goatee")).float()
        canvas.fill(box(x, y - 0.16, 0.085, 0.085, 0.05), f.hair_tone * 0.9, goatee)
        moustache = torch.isin(f.beard, torch.tensor([BEARDS.index("moustache"), BEARDS.index("full")])).float()
        canvas.fill(arc(x, y + 0.085, 0.15, -0.04, -0.04, 0.032), f.hair_tone * 0.85, moustache)

    def mouth(self, canvas: Canvas) -> None:
        f = self.f
        x, y, _ = self.at(0.0, 0.26)
        width = (0.1 + 0.06 * f.mouth_width) * (1 + 0.22 * (f.smile_left + f.smile_right).clamp(min=0) / 2)
        width = width * (1 - 0.25 * (f.brow_raise > 0.1) * f.mouth_open)
        rises = 0.1 * f.smile_left, 0.1 * f.smile_right
        lip = 0.016 + 0.016 * f.lip_fullness
        lip_color = f.skin_color * torch.tensor([0.86, 0.52, 0.52])
        opened = 0.11 * f.mouth_open
        gap = torch.where(column(opened) > 0.004, column(opened), torch.full_like(column(opened), 0.004))
        centre_y = y + column((rises[0] + rises[1]) * 0.25)
        hole = ellipse(x, centre_y - 0.6 * gap, width * 0.85, gap.flatten() + 0.012)
        showing = (f.mouth_open > 0.08).float()
        canvas.fill(hole - column(lip), lip_color, showing)
        canvas.fill(hole, color("#6b1f2a"), showing)
        canvas.paint(
            canvas.cover(hole) * canvas.cover(centre_y + 0.012 - 0.2 * gap) * column(showing), color("#ffffff")
        )
        canvas.fill(arc(x, centre_y, width, *rises, lip), lip_color, 1 - showing)

    def nose(self, canvas: Canvas) -> None:
        f = self.f
        tip = 0.06 + 0.07 * f.nose_length
        x, y, _ = self.at(0.0, tip)
        lean = column(0.06 * torch.sin(f.yaw))
        half = 0.028 + 0.035 * f.nose_width
        canvas.fill(segment(x - lean, y, 0.0, -0.12, 0.0, 0.0, 0.016), f.skin_shade)
        canvas.fill(ellipse(x - lean, y, half, 0.036), f.skin_shade)

    def eye(self, canvas: Canvas, side: int) -> None:
        f = self.f
        longitude = side * (0.36 + 0.14 * f.eye_spacing)
        x, y, facing = self.at(longitude, -0.06)
        radius = 0.062 + 0.028 * f.eye_size
        height = (radius * 0.95 * f.eye_open).clamp(min=0.008)
        white = ellipse(x, y, radius, height)
        facing = column(facing) * self.on_face
        canvas.part = SKIN
        canvas.fill(white - 0.012, f.skin_shade * 0.8, facing)
        canvas.part = EYES
        canvas.fill(white, color("#fdfdfb"), facing)
        inside = canvas.cover(white) * facing
        gaze = column(0.02 * torch.sin(f.yaw))
        iris_color = torch.stack([color(tone) for tone in EYE_COLORS])[f.eye_color]
        canvas.paint(inside * canvas.cover(ellipse(x - gaze, y, 0.62 * radius, 0.62 * radius)), iris_color)
        canvas.paint(inside * canvas.cover(ellipse(x - gaze, y, 0.3 * radius, 0.3 * radius)), color("#101014"))
        canvas.paint(inside * canvas.cover(ellipse(x - gaze - 0.02, y + 0.02, 0.014, 0.014)), color("#ffffff"))
        canvas.part = SKIN
        closed = column((1 - f.eye_open * 3).clamp(0, 1)) * facing
        canvas.fill(arc(x, y, radius, -0.01, -0.01, 0.012), f.skin_color * 0.45, closed)

    def brow(self, canvas: Canvas, side: int) -> None:
        f = self.f
        longitude = side * (0.38 + 0.14 * f.eye_spacing)
        x, y, facing = self.at(longitude, -0.2 - 0.07 * f.brow_raise)
        tilt = 0.05 * (f.brow_tilt - 0.5) * side
        thickness = 0.012 + 0.022 * f.brow_thickness
        line = arc(x, y - column(tilt) * x / 0.1, 0.1, -0.025, -0.025, thickness)
        canvas.fill(line, f.hair_tone * 0.72, facing)

    def marks(self, canvas: Canvas) -> None:
        f = self.f
        if not f.temple_mark.any():
            return
        x, y, facing = self.at(f.temple_mark * 1.5, -0.12)
        canvas.fill(ellipse(x, y, 0.1, 0.055), color("#8c2f39"), (f.temple_mark != 0) * facing)

    def front_hair(self, canvas: Canvas) -> None:
        f = self.f
        volume = 0.04 + 0.05 * f.hair_volume
        cap = self.outline(0.0) - column(volume)
        lean = column(0.12 * torch.sin(f.yaw))
        hairline = {
            "short": self.y + 0.26 - 0.05 * torch.cos(9 * (self.x - lean)),
            "long": self.y + 0.3 - 0.5 * (self.x - lean - 0.1) ** 2 * 4 * 0.35,
            "bob": self.y + 0.2,
            "bun": self.y + 0.31,
            "curly": self.y + 0.24 - 0.045 * torch.sin(16 * self.x),
            "spiky": self.y + 0.27 - 0.06 * (((self.x - lean) * 5).remainder(1) - 0.5).abs() * 2,
        }
        for style, line in hairline.items():
            rows = (f.hair_style == HAIR_STYLES.index(style)).float()
            if not rows.any():
                continue
            shape = cap
            if style == "spiky":
                angle = torch.atan2(self.y + 0.1, self.x)
                shape = cap - 0.06 * ((angle * 4.5).remainder(1) - 0.5).abs() * 2
            if style == "curly":
                shape = cap - 0.035 - 0.03 * torch.sin(14 * torch.atan2(self.y + 0.05, self.x))
            sides = (self.x - lean).abs() - column(f.head_width * 0.84)
            line = torch.minimum(line, torch.maximum(-sides, self.y - (0.25 if style in ("long", "bob") else -0.02)))
            canvas.fill(torch.maximum(shape, line), f.hair_tone, rows)
            shine = ellipse(self.x - lean + 0.12, self.y + 0.43, 0.12, 0.03)
            canvas.paint(
                canvas.cover(torch.maximum(shine, torch.maximum(shape, line)), 0.06) * column(0.3 * rows),
                color("#ffffff"),
            )

    def spectacles(self, canvas: Canvas) -> None:
        f = self.f
        if not f.glasses.any():
            return
        tone = torch.stack([color(tone) for tone in FRAME_COLORS])[f.frame_color]
        for side in (-1, 1):
            x, y, facing = self.at(side * (0.36 + 0.14 * f.eye_spacing), -0.055)
            round_rim = (ellipse(x, y, 0.125, 0.12)).abs() - 0.014
            square_rim = box(x, y, 0.125, 0.105, 0.03).abs() - 0.014
            for name, rim in (("round", round_rim), ("square", square_rim)):
                canvas.fill(rim, tone, (f.glasses == GLASSES.index(name)) * facing)
        x, y, facing = self.at(0.0, -0.07)
        canvas.fill(box(x, y, 0.045, 0.012), tone, (f.glasses != 0) * facing)
