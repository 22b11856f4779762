"""Metrics of clips of held-out identities, by judges: networks that take no part in the training of adapters."""

import numpy as np
import torch
from torch import Tensor

from ..toy_world.evaluate import PER_SEED, through_vae
from ..toy_world.family import has_part, load_clip_judge, load_face_judge, load_mark_judge
from ..toy_world.judges import MarkJudge, marks_in_view, reveals
from ..toy_world.person import DYNAMICS, HELD_OUT_FROM
from ..toy_world.render import render_clips
from ..toy_world.scene import LOOK_AROUND, sample_scene
from .copying import copied
from .estimators import Estimator, area_under_curve, correlation, estimate, mean
from .intervals import bootstrap
from .studio import Studio
from .subjects import SCENE_OFFSET, Subject
from .variants import BASE, GROUND_TRUTH


class Metrics:
    """Measures clips against the identities and scenes that they should show."""

    def __init__(self, studio: Studio, subjects: list[Subject], seed: int):
        self.subjects = subjects
        self.faces, self.scenes = load_face_judge(studio.weights), load_clip_judge(studio.weights)
        self.marks = load_mark_judge(studio.weights) if has_part("mark_judge", studio.weights) else None
        first = HELD_OUT_FROM + seed * PER_SEED + SCENE_OFFSET + PER_SEED // 4
        drawn = [
            render_clips([subject.person], [sample_scene(first + number)]) for number, subject in enumerate(subjects)
        ]
        # The gallery: each person once more, in a scene that nothing else here uses.
        self.gallery = torch.cat([self.faces.embed_clips(through_vae(clip, studio.vae)) for clip in drawn])

    @torch.no_grad()
    def measure(self, clips: Tensor) -> dict[str, np.ndarray]:
        """Clips (people, prompts, T, H, W, 3) -> metrics per person and prompt (people, prompts)."""
        people, prompts = clips.shape[:2]
        flat = clips.flatten(0, 1)
        similarity = self.faces.embed_clips(flat) @ self.gallery.T  # (people * prompts, people)
        whose = torch.arange(people).repeat_interleave(prompts)
        predictions = self.scenes(flat)
        scenes = [scene for subject in self.subjects for scene in subject.scenes]
        figures = {
            "similarity": similarity.gather(1, whose[:, None])[:, 0],
            "rank1": (similarity.argmax(1) == whose).float(),
        }
        for name in ("action", "background", "clothes"):
            wanted = torch.tensor([getattr(scene, name) for scene in scenes])
            figures[name] = (predictions[name].argmax(1) == wanted).float()
        shaped = {name: value.reshape(people, prompts).numpy() for name, value in figures.items()}
        shaped["dynamics"] = self.dynamics(predictions["dynamics"].reshape(people, prompts, -1))
        if self.marks is not None:
            shaped["marks"] = self.marks_found(self.marks, clips)
        return shaped

    def dynamics(self, estimates: Tensor) -> np.ndarray:
        """(people, prompts, factors, 2): estimate and truth where the scene's action shows the factor, else NaN."""
        truth = torch.tensor([[getattr(subject.person, name) for name in DYNAMICS] for subject in self.subjects])
        actions = torch.tensor([[scene.action for scene in subject.scenes] for subject in self.subjects])
        shown = reveals(actions.flatten()).reshape(*actions.shape, -1)
        pairs = torch.stack([estimates, truth[:, None].expand_as(estimates)], dim=-1).double()
        return pairs.masked_fill(~shown[..., None], torch.nan).numpy()

    def marks_found(self, judge: MarkJudge, clips: Tensor) -> np.ndarray:
        """(people, prompts, marks, 2): logit and ground truth where the scene's action is to look around, else NaN."""
        predictions = judge(clips.flatten(0, 1))
        turns = predictions["turn"].reshape(clips.shape[:2]).tolist()  # nothing asks for a side, so the clip says which
        seen = torch.tensor([
            [marks_in_view(subject.person, turn) for turn in row]
            for subject, row in zip(self.subjects, turns, strict=True)
        ])  # fmt: skip
        pairs = torch.stack([predictions["marks"].unflatten(0, clips.shape[:2]), seen.float()], dim=-1).double()
        looks = torch.tensor([[scene.action == LOOK_AROUND for scene in subject.scenes] for subject in self.subjects])
        return pairs.masked_fill(~looks[..., None, None], torch.nan).numpy()


# Of all others, the mean.
ESTIMATORS: dict[str, Estimator] = {"dynamics": correlation, "marks": area_under_curve, "copying": copied}


def summarize(row: str, measured: dict[str, np.ndarray]) -> dict[str, float]:
    """Flat keys `<row>.<figure>`, `.low` and `.high` behind each for its 95% interval; one `dynamics.<factor>` each.

    Without a row's name, keys are the figures alone.
    """
    figures = {}
    factors = {f"dynamics.{name}": measured["dynamics"][:, :, [place]] for place, name in enumerate(DYNAMICS)}
    for name, values in {**measured, **factors}.items():
        estimator = ESTIMATORS.get(name.split(".")[0], mean)
        key = f"{row}.{name}" if row else name
        figures[key] = estimate(values, estimator)
        figures[f"{key}.low"], figures[f"{key}.high"] = bootstrap(values, estimator)
    return figures


def row_line(label: str, row: str, figures: dict[str, float]) -> str:
    """The figures of a row in one line for people; of dynamics their mean alone."""
    prefix = f"{row}." if row else ""
    parts = []
    for key, value in figures.items():
        name = key.removeprefix(prefix)
        if key.startswith(prefix) and "." not in name and f"{key}.low" in figures:
            low, high = figures[f"{key}.low"], figures[f"{key}.high"]
            parts.append(f"{name} {value:.3f} [{low:.3f}, {high:.3f}]")
    return f"toy world  {label:<20} " + "  ".join(parts)


def gap_closed(figures: dict[str, float], row: str) -> float:
    """Share of the similarity between the base and the ground truth that a row reaches."""
    base, ground_truth = figures[f"{BASE}.similarity"], figures[f"{GROUND_TRUTH}.similarity"]
    return (figures[f"{row}.similarity"] - base) / (ground_truth - base)
