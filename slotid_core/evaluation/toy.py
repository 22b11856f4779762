"""Rows of adapters compared on held-out people of the toy world, judged by networks that no adapter has seen."""

import numpy as np
import torch
from torch import Tensor

from ..toy_world.captions import caption
from ..toy_world.evaluate import PER_SEED, through_vae
from ..toy_world.family import load_clip_judge, load_face_judge
from ..toy_world.judges import reveals
from ..toy_world.person import DYNAMICS, HELD_OUT_FROM, sample_person
from ..toy_world.render import render_clips
from ..toy_world.scene import sample_scene
from .intervals import bootstrap, mean
from .rows import Studio, Subject

SCENE_OFFSET = 5_000  # of a seed's range: scenes of subjects are not those of other evaluations


def subjects_of(seed: int, count: int, prompts: int) -> list[Subject]:
    """`count` held-out people with `prompts` scenes each; other seeds give other people."""
    first = HELD_OUT_FROM + seed * PER_SEED
    subjects = []
    for number in range(count):
        scene_seeds = [first + SCENE_OFFSET + number * prompts + place for place in range(prompts)]
        scenes = tuple(sample_scene(s) for s in scene_seeds)
        texts = tuple(caption(scene, s) for scene, s in zip(scenes, scene_seeds, strict=True))
        subjects.append(Subject(sample_person(first + number), first + number, scenes, texts))
    return subjects


class Judgement:
    """Judges clips against the people that they should show."""

    def __init__(self, studio: Studio, subjects: list[Subject], seed: int):
        self.subjects = subjects
        self.faces, self.scenes = load_face_judge(studio.weights), load_clip_judge(studio.weights)
        first = HELD_OUT_FROM + seed * PER_SEED + SCENE_OFFSET + PER_SEED // 4
        drawn = [
            render_clips([subject.person], [sample_scene(first + number)]) for number, subject in enumerate(subjects)
        ]
        # The gallery: each person once more, in a scene that nothing else here uses.
        self.gallery = torch.cat([self.faces.embed_clips(through_vae(clip, studio.vae)) for clip in drawn])

    @torch.no_grad()
    def judge(self, clips: Tensor) -> dict[str, np.ndarray]:
        """Clips (people, prompts, T, H, W, 3) -> figures per person and prompt (people, prompts)."""
        people, prompts = clips.shape[:2]
        flat = clips.flatten(0, 1)
        similarity = self.faces.embed_clips(flat) @ self.gallery.T  # (people * prompts, people)
        whose = torch.arange(people).repeat_interleave(prompts)
        told = self.scenes(flat)
        scenes = [scene for subject in self.subjects for scene in subject.scenes]
        figures = {
            "similarity": similarity.gather(1, whose[:, None])[:, 0],
            "rank1": (similarity.argmax(1) == whose).float(),
        }
        for name in ("action", "background", "clothes"):
            wanted = torch.tensor([getattr(scene, name) for scene in scenes])
            figures[name] = (told[name].argmax(1) == wanted).float()
        shaped = {name: value.reshape(people, prompts).numpy() for name, value in figures.items()}
        return shaped | {"dynamics": self.dynamics(told["dynamics"].reshape(people, prompts, -1))}

    def dynamics(self, estimates: Tensor) -> np.ndarray:
        """(people, prompts, factors, 2): estimate and truth where the scene's action shows the factor, else NaN."""
        truth = torch.tensor([[getattr(subject.person, name) for name in DYNAMICS] for subject in self.subjects])
        actions = torch.tensor([[scene.action for scene in subject.scenes] for subject in self.subjects])
        shown = reveals(actions.flatten()).reshape(*actions.shape, -1)
        pairs = torch.stack([estimates, truth[:, None].expand_as(estimates)], dim=-1).double()
        return pairs.masked_fill(~shown[..., None], torch.nan).numpy()


def correlation(pairs: np.ndarray) -> float:
    """Mean over factors of the correlation between estimates and truth; pairs (people, prompts, factors, 2)."""
    told = []
    for factor in range(pairs.shape[2]):
        estimate, truth = pairs[:, :, factor].reshape(-1, 2).T
        known = np.isfinite(estimate)
        if known.sum() > 2 and estimate[known].std() > 0 and truth[known].std() > 0:
            told.append(np.corrcoef(estimate[known], truth[known])[0, 1])
    return float(np.mean(told)) if told else float("nan")


def summarize(row: str, judged: dict[str, np.ndarray]) -> dict[str, float]:
    """Flat keys `<row>.<figure>`, `.low` and `.high` behind each for its 95% interval."""
    figures = {}
    for name, values in judged.items():
        statistic = correlation if name == "dynamics" else mean
        key = f"{row}.{name}"
        figures[key] = statistic(values)
        figures[f"{key}.low"], figures[f"{key}.high"] = bootstrap(values, statistic)
    return figures


def gap_closed(figures: dict[str, float], row: str = "full") -> float:
    """Share of the similarity between `base` and `ceiling` that a row reaches."""
    base, ceiling = figures["base.similarity"], figures["ceiling.similarity"]
    return (figures[f"{row}.similarity"] - base) / (ceiling - base)
