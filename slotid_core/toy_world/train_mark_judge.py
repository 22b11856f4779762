"""Training of the judge of marks, on drawings of people who look around, half of them through the VAE."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from .evaluate import evaluate_mark_judge
from .family import load_vae
from .judges import MarkJudge, marks_in_view
from .motion import turn_of
from .person import sample_person
from .scene import LOOK_AROUND, sample_scene
from .train_judges import WINDOW, ClipJudgeTraining, Drawings, soften
from .training_loop import Schedule, load_trained, train


@dataclass(frozen=True)
class MarkJudgeTraining(ClipJudgeTraining):
    """As the clip judge's, and shorter."""

    steps: int = 1500
    new_clips: int = 2


def train_mark_judge(folder: Path, config: MarkJudgeTraining | None = None, device: str = "cpu") -> MarkJudge:
    config = config or MarkJudgeTraining()
    torch.manual_seed(0)
    judge = MarkJudge()
    drawings = Drawings(load_vae(config.parts()), config.bfloat16, LOOK_AROUND)

    def draw_clips(step: int):
        first = config.new_clips * step
        rng = np.random.default_rng((step, 47))
        seeds = [int(seed) for seed in rng.integers(first, first + WINDOW, size=config.batch)]
        clips = torch.stack([drawings(seed) for seed in seeds]).float() / 255
        clips = rearrange(soften(clips.flatten(0, 1), step), "(b t) h w c -> b t h w c", b=config.batch)
        turns = [turn_of(sample_scene(seed, LOOK_AROUND)) for seed in seeds]
        seen = [marks_in_view(sample_person(seed), turn) for seed, turn in zip(seeds, turns, strict=True)]
        return clips, torch.tensor(seen).float(), (torch.tensor(turns) > 0).float()

    def loss_of(step: int, clips: Tensor, seen: Tensor, right: Tensor):
        told = judge(clips)
        marks = F.binary_cross_entropy_with_logits(told["marks"], seen)
        turn = F.binary_cross_entropy_with_logits(told["turn"], right)
        figures = {"marks_right": ((told["marks"] > 0) == (seen > 0)).float().mean().item()}
        return marks + turn, {**figures, "turn_right": ((told["turn"] > 0) == (right > 0)).float().mean().item()}

    schedule = Schedule(config.steps, config.learning_rate)
    train("mark_judge", judge, draw_clips, loss_of, schedule, folder, config.save_every, device=device)
    return judge


def finish_mark_judge(folder: Path, config: MarkJudgeTraining, seed: int):
    judge = MarkJudge()
    steps = load_trained(folder, "mark_judge", judge)
    judge = judge.eval()
    figures = evaluate_mark_judge(judge, None, seed) | evaluate_mark_judge(judge, load_vae(config.parts()), seed)
    return judge.state_dict(), steps, figures
