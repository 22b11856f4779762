"""Two people in one toy-world frame, each in a half of it: is each side more like its own reference than the other's?

The toy base was trained on square frames with one head, and draws no head at all in a frame of twice the width. So the
frame is composed: until `joint_from` each half is predicted as a frame of its own with its own person, and from there
on the frame is one video. Its self-attention joins all tokens then, and the two people act in their halves by regions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..systems.contract import Adapter
from ..systems.registry import inference_of
from ..toy_world.evaluate import to_drawings
from ..toy_world.family import FLOW_SHIFT, load_dit, load_face_judge
from ..toy_world.render import render_clips
from ..toy_world.scene import sample_scene
from ..wan import WanModel
from ..wan.guidance import Predict, sample_guided
from ..wan.region import Region, box
from ..wan.sampling import shifted
from ..wan.text_encoder import pad_text
from ..wan.together import Install, together
from ..wan.vae import denormalize_latents
from .estimators import estimate, mean
from .intervals import bootstrap
from .studio import DECODED_AT_ONCE, Studio
from .subjects import SCENE_OFFSET, Subject, subjects_of
from .variants import FULL

SIDE = 8  # latents of a square frame
TEXT_ROOM = 32  # rows behind the longest prompt, for two people's tokens
NO_REGIONS = (None, None)
HALVES = (box(0, 0, 0.5, 1), box(0.5, 0, 0.5, 1))
GALLERY_OFFSET = SCENE_OFFSET + 1_000


@dataclass(frozen=True)
class PairSettings:
    """What is drawn.

    Attributes:
        pairs: of held-out people; all are different.
        joint_from: part of sampling, 0 to 1, at which the halves become one frame.
    """

    pairs: int = 8
    seed: int = 0
    joint_from: float = 0.9


def halves_apart(sides: Sequence[Predict], joint: Predict, until: float) -> Predict:
    """Above the noise level `until` each half of (B, 16, T, 8, 16) by its own prediction; below it, all by `joint`."""

    def composed(noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor | None) -> Tensor:
        if float(noise_level.max()) <= until:
            return joint(noisy, noise_level, context, strength)
        halves = zip(sides, noisy.split(SIDE, dim=4), strict=True)
        return torch.cat([predict(half, noise_level, context, strength) for predict, half in halves], dim=4)

    return composed


class PairStudio:
    """Draws pairs by one system; the same noise, prompts and people in every row."""

    def __init__(self, studio: Studio, system: str, settings: PairSettings):
        self.studio, self.system, self.settings = studio, system, settings
        subjects = subjects_of(settings.seed, 2 * settings.pairs, 1)
        self.pairs = list(zip(subjects[0::2], subjects[1::2], strict=True))
        self.base = load_dit(studio.weights)
        self.model = load_dit(studio.weights)
        path = studio.adapter_path(system, FULL)
        assert path is not None  # the command asks first
        self.adapter: Adapter = inference_of(system).load(path)
        self.adapter.prepare_model(self.model)

    @torch.no_grad()
    def people(self, subjects: Sequence[Subject]):
        jobs = [(subject, 0) for subject in subjects]
        return self.studio.person(self.system, self.adapter, jobs, self.studio.usage)

    def wide(self, shown: Sequence[int], model: WanModel | None = None) -> Tensor:
        """Drawings (pairs, T, 64, 128, 3) with the people of these sides, 0 and 1, in their halves."""
        model, predicts = model or self.model, []
        until = float(shifted(1 - self.settings.joint_from, FLOW_SHIFT))
        for pair in self.pairs:
            sides = [self.installs(model, pair, [side] if side in shown else []) for side in (0, 1)]
            joint = together(model, self.installs(model, pair, shown, HALVES))
            predicts.append(halves_apart([together(model, side) for side in sides], joint, until))
        return self.draw(predicts, has_people=bool(shown), width=2 * SIDE)

    @torch.no_grad()
    def installs(
        self,
        model: WanModel,
        pair: Sequence[Subject],
        shown: Sequence[int],
        regions: Sequence[Region | None] = NO_REGIONS,
    ) -> list[Install]:
        return [self.adapter.install(model, self.people([pair[side]]), regions[side]) for side in shown]

    def alone(self, side: int) -> Tensor:
        """Drawings (pairs, T, 64, 64, 3) of one side's people, each alone in a frame of that half's noise."""
        predicts = [together(self.model, self.installs(self.model, pair, [side])) for pair in self.pairs]
        return self.draw(predicts, has_people=True, width=SIDE, first=side * SIDE)

    @torch.no_grad()
    def draw(self, predicts: Sequence[Predict], has_people: bool, width: int, first: int = 0) -> Tensor:
        drawn, usage, empty = [], self.studio.usage, self.studio.encoders.text_rows("").float()
        for number, (predict, pair) in enumerate(zip(predicts, self.pairs, strict=True)):
            generator = torch.Generator().manual_seed(self.settings.seed + number)
            noise = torch.randn(1, 16, 5, SIDE, 2 * SIDE, generator=generator)[..., first : first + width]
            text = pad_text([self.studio.encoders.text_rows(pair[0].prompts[0]).float()], room=TEXT_ROOM)
            latents = sample_guided(
                predict, noise, text, empty, has_people, usage.steps, FLOW_SHIFT, usage.text_scale,
                usage.identity_scale, usage.order,
            )  # fmt: skip
            parts = denormalize_latents(latents).split(DECODED_AT_ONCE)
            drawn += [to_drawings(self.studio.vae.decode(part)).float() for part in parts]
        return torch.cat(drawn)


class PairJudge:
    """Likeness of either side to both people of its pair, by the face judge, which no adapter knows."""

    def __init__(self, studio: Studio, pairs: Sequence[tuple[Subject, Subject]], seed: int):
        self.faces = load_face_judge(studio.weights)
        people = [subject for pair in pairs for subject in pair]
        scenes = [sample_scene(subject.seed + GALLERY_OFFSET) for subject in people]
        drawn = render_clips([subject.person for subject in people], scenes)
        with torch.no_grad():
            self.gallery = self.faces.embed_clips(drawn.float()).unflatten(0, (len(pairs), 2))  # (P, 2, D)

    @torch.no_grad()
    def embedded(self, clips: Tensor) -> Tensor:
        """(pairs, T, 64, 64 or 128, 3) -> (pairs, sides, D)."""
        return torch.stack([self.faces.embed_clips(side) for side in clips.split(64, dim=3)], dim=1)

    def likeness(self, clips: Tensor) -> np.ndarray:
        """(pairs, sides, 2): of either side to the person of the left and of the right."""
        return torch.einsum("psd,pod->pso", self.embedded(clips), self.gallery).numpy()


def pair_figures(alone: np.ndarray, two: np.ndarray, left: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of pairs, each (pairs, ...).

    Args:
        alone: (pairs, 2), likeness of each person alone to themselves.
        two: (pairs, 2, 2), as `PairJudge.likeness`, with both people; left: the same with the left one alone.
    """
    own = np.stack([two[:, 0, 0], two[:, 1, 1]], axis=1)
    other = np.stack([two[:, 0, 1], two[:, 1, 0]], axis=1)
    return {
        "alone": alone,
        "similarity": own,
        "other": other,
        "told_apart": (own > other).astype(float),
        "loss": alone - own,
        "bleed": left[:, 1, 0],  # the left person in the right half, where nobody was asked for
    }


def evaluate_pairs(
    studio: Studio, systems: Sequence[str], settings: PairSettings, sheet: Path | None, say: Callable[[str], None]
) -> dict[str, float]:
    """Keys `<system>.two.<figure>`, with `.low` and `.high`; `.lora` is how alike a bystander with the adapter's LoRA
    on the model is to the same one without it, 1 for the same face."""
    from .pair_sheet import save_pairs

    figures: dict[str, float] = {}
    for system in systems:
        drawn = PairStudio(studio, system, settings)
        judge = PairJudge(studio, drawn.pairs, settings.seed)
        clips = {"base": drawn.wide([], drawn.base), "adapter, nobody": drawn.wide([]), "left alone": drawn.wide([0])}
        clips["two"] = drawn.wide([0, 1])
        singles = [drawn.alone(side) for side in (0, 1)]
        alone = np.stack([judge.likeness(clip)[:, 0, side] for side, clip in enumerate(singles)], axis=1)
        measured = pair_figures(alone, judge.likeness(clips["two"]), judge.likeness(clips["left alone"]))
        nobody = judge.likeness(clips["adapter, nobody"])
        measured["bleed"] = measured["bleed"] - nobody[:, 1, 0]
        with_lora, without = judge.embedded(clips["adapter, nobody"]), judge.embedded(clips["base"])
        measured["lora"] = (with_lora * without).sum(2).numpy()
        for name, values in measured.items():
            key = f"{system}.two.{name}"
            figures[key] = estimate(values, mean)
            figures[f"{key}.low"], figures[f"{key}.high"] = bootstrap(values, mean)
            say(f"toy world  {key:<28} {figures[key]:.3f} [{figures[f'{key}.low']:.3f}, {figures[f'{key}.high']:.3f}]")
        if sheet is not None:
            path = sheet if len(systems) == 1 else sheet.with_stem(f"{sheet.stem}_{system}")
            save_pairs({**clips, "each alone": torch.cat(singles, dim=3)}, drawn.pairs, path)
    return figures
