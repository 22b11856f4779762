"""Training of the judge of marks, on people who look around: five frames of each, some through the VAE.

Marks are small and a person's own, so a judge that sees few people learns them by heart; five frames instead of
seventeen let every step draw people whom no step before has seen. Each comes twice, the second time with the marks
that the first time has not: nothing else differs, so nothing else can be learnt.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..precision import fast_autocast
from .evaluate import evaluate_mark_judge, through_vae
from .family import TrainedAfterOthers, load_vae
from .judges import MarkJudge, marks_in_view
from .motion import CLIP_FRAMES, turn_of
from .person import MARKS, Person, sample_person
from .render import render_pieces
from .scene import LOOK_AROUND, sample_scene
from .train_judges import soften
from .training_loop import Schedule, load_trained, train

FRAMES = 5  # two latent frames; wherever they are cut out, some show the head turned
THROUGH_VAE = 4  # one clip in as many; it takes most of the time


@dataclass(frozen=True)
class MarkJudgeTraining(TrainedAfterOthers):
    steps: int = 3000
    people: int = 8  # a step
    learning_rate: float = 1e-3


def train_mark_judge(folder: Path, config: MarkJudgeTraining | None = None, device: str = "cpu") -> MarkJudge:
    config = config or MarkJudgeTraining()
    torch.manual_seed(0)
    judge = MarkJudge()
    vae = load_vae(config.parts())

    def draw_clips(step: int):
        rng = np.random.default_rng((step, 47))
        seeds = range(config.people * step, config.people * (step + 1))
        scenes = [sample_scene(seed, LOOK_AROUND) for seed in seeds]
        turns = [turn_of(scene) for scene in scenes]
        people = [sample_person(seed) for seed in seeds]
        people += [with_other_marks(person, turn) for person, turn in zip(people, turns, strict=True)]
        turns = 2 * turns
        starts = rng.integers(CLIP_FRAMES - FRAMES + 1, size=config.people).tolist()
        clips = render_pieces(people, 2 * scenes, 2 * starts, FRAMES)
        part = slice(0, None, THROUGH_VAE)
        with fast_autocast("cpu", config.bfloat16):
            clips[part] = through_vae(clips[part], vae).float()
        clips = rearrange(soften(clips.flatten(0, 1), step), "(b t) h w c -> b t h w c", b=len(people))
        seen = [marks_in_view(person, turn) for person, turn in zip(people, turns, strict=True)]
        return clips, torch.tensor(seen).float(), (torch.tensor(turns) > 0).float()

    def loss_of(step: int, clips: Tensor, seen: Tensor, right: Tensor):
        predictions = judge(clips)
        marks = F.binary_cross_entropy_with_logits(predictions["marks"], seen)
        turn = F.binary_cross_entropy_with_logits(predictions["turn"], right)
        figures = {"marks_right": ((predictions["marks"] > 0) == (seen > 0)).float().mean().item()}
        return marks + turn, {**figures, "turn_right": ((predictions["turn"] > 0) == (right > 0)).float().mean().item()}

    schedule = Schedule(config.steps, config.learning_rate)
    train("mark_judge", judge, draw_clips, loss_of, schedule, folder, config.save_every, device=device)
    return judge


def with_other_marks(person: Person, turn: float) -> Person:
    """The same person with just those marks in view that are not, where somebody turns this way."""
    side = -int(turn)
    return replace(person, **{name: 0 if getattr(person, name) == side else side for name in MARKS})


def finish_mark_judge(folder: Path, config: MarkJudgeTraining, seed: int):
    judge = MarkJudge()
    steps = load_trained(folder, "mark_judge", judge)
    judge = judge.eval()
    figures = evaluate_mark_judge(judge, None, seed) | evaluate_mark_judge(judge, load_vae(config.parts()), seed)
    return judge.state_dict(), steps, figures
