"""Training of the judges on fresh drawings, a little blurred and noisy so that a VAE's softness does not fool them."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..precision import fast_autocast
from ..wan.vae import WanVAE
from .evaluate import evaluate_clip_judge, evaluate_face_judge, through_vae
from .family import TrainedAfterOthers, load_vae
from .judges import RANGES, ClipJudge, FaceJudge, angular_margin_loss, reveals
from .motion import CLIP_FRAMES
from .person import DYNAMICS, HELD_OUT_FROM, Person, sample_person
from .render import render_clips, render_pieces
from .scene import sample_scene
from .training_loop import Schedule, load_trained, train

WINDOW = 512  # clips of which a step's are chosen
LABELS = ("action", "background", "clothes")


@dataclass(frozen=True)
class FaceJudgeTraining:
    people: int = 1000
    steps: int = 3000
    batch: int = 64
    learning_rate: float = 1.5e-3
    scale: float = 16.0
    margin: float = 0.3  # grows from 0 over the first half; from the start it only pushes everybody apart
    save_every: int = 200


@dataclass(frozen=True)
class ClipJudgeTraining(TrainedAfterOthers):
    """Drawing takes longer than learning, so clips are drawn from a window that moves `new_clips` on with each step.

    Every second clip has gone through the VAE: what is judged comes out of one, and it smooths motion.
    """

    steps: int = 3000
    batch: int = 16
    new_clips: int = 4
    learning_rate: float = 1e-3


class FaceJudgeInTraining(nn.Module):
    """The judge and the directions of the people it is trained on, which are not kept."""

    def __init__(self, people: int):
        super().__init__()
        self.judge = FaceJudge()
        self.centers = nn.Parameter(torch.randn(people, 128))


def train_face_judge(folder: Path, config: FaceJudgeTraining | None = None, device: str = "cpu") -> FaceJudge:
    config = config or FaceJudgeTraining()
    torch.manual_seed(0)
    module = FaceJudgeInTraining(config.people)
    people = [sample_person(seed) for seed in range(config.people)]

    def draw_faces(step: int):
        rng = np.random.default_rng((step, 41))
        whose = rng.integers(config.people, size=config.batch)
        scenes = [sample_scene(int(seed)) for seed in rng.integers(HELD_OUT_FROM, size=config.batch)]
        starts = [int(rng.integers(CLIP_FRAMES)) for _ in whose]
        frames = render_pieces([people[i] for i in whose], scenes, starts, num_frames=1)[:, 0]
        return soften(frames, step), torch.from_numpy(whose)

    def loss_of(step: int, frames: Tensor, whose: Tensor):
        embedding = module.judge(rearrange(frames, "n h w c -> n c h w"))
        margin = config.margin * min(1.0, step / (0.5 * config.steps))
        loss = angular_margin_loss(embedding, module.centers, whose, config.scale, margin)
        nearest = (embedding.detach() @ F.normalize(module.centers.detach(), dim=1).T).argmax(1)
        return loss, {"right": (nearest == whose).float().mean().item()}

    schedule = Schedule(config.steps, config.learning_rate)
    train("face_judge", module, draw_faces, loss_of, schedule, folder, config.save_every, device=device)
    return module.judge


def finish_face_judge(folder: Path, config: FaceJudgeTraining, seed: int):
    module = FaceJudgeInTraining(config.people)
    steps = load_trained(folder, "face_judge", module)
    judge = module.judge.eval()
    return judge.state_dict(), steps, evaluate_face_judge(judge, None, seed, picture=folder / "face_judge_pairs.png")


def train_clip_judge(folder: Path, config: ClipJudgeTraining | None = None, device: str = "cpu") -> ClipJudge:
    config = config or ClipJudgeTraining()
    torch.manual_seed(0)
    judge = ClipJudge()
    low, high = torch.tensor(RANGES, device=device).T
    drawings = Drawings(load_vae(config.parts()), config.bfloat16)

    def draw_clips(step: int):
        rng = np.random.default_rng((step, 43))
        first = config.new_clips * step
        seeds = [int(seed) for seed in rng.integers(first, first + WINDOW, size=config.batch)]
        people, scenes = [sample_person(seed) for seed in seeds], [sample_scene(seed) for seed in seeds]
        clips = torch.stack([drawings(seed) for seed in seeds]).float() / 255
        clips = rearrange(soften(clips.flatten(0, 1), step), "(b t) h w c -> b t h w c", b=config.batch)
        labels = torch.tensor([[getattr(scene, name) for name in LABELS] for scene in scenes])
        return clips, labels, dynamics_of(people)

    def loss_of(step: int, clips: Tensor, labels: Tensor, dynamics: Tensor):
        predictions = judge(clips)
        figures, loss = {}, torch.zeros((), device=device)
        for name, wanted in zip(LABELS, labels.T, strict=True):
            loss = loss + F.cross_entropy(predictions[name], wanted)
            figures[name] = (predictions[name].argmax(1) == wanted).float().mean().item()
        shown = reveals(labels[:, 0])
        error = (predictions["dynamics"] - dynamics) / (high - low) * 12**0.5
        error = error.square()[shown].mean()
        return loss + error, {**figures, "dynamics_error": error.item()}

    schedule = Schedule(config.steps, config.learning_rate)
    train("clip_judge", judge, draw_clips, loss_of, schedule, folder, config.save_every, device=device)
    return judge


class Drawings:
    """Clips (17, 64, 64, 3) in 256 steps, as a video has them; those of odd seeds through the VAE."""

    def __init__(self, vae: WanVAE, bfloat16: bool):
        self.vae, self.bfloat16 = vae, bfloat16
        self.clip = lru_cache(maxsize=2 * WINDOW)(self._draw)

    def __call__(self, seed: int) -> Tensor:
        return self.clip(seed)

    def _draw(self, seed: int) -> Tensor:
        drawn = render_clips([sample_person(seed)], [sample_scene(seed)])
        with fast_autocast("cpu", self.bfloat16):
            seen = through_vae(drawn, self.vae if seed % 2 else None)[0].float()
        return (seen * 255).round().to(torch.uint8)


def finish_clip_judge(folder: Path, config: ClipJudgeTraining, seed: int):
    judge = ClipJudge()
    steps = load_trained(folder, "clip_judge", judge)
    judge = judge.eval()
    figures = evaluate_clip_judge(judge, None, seed) | evaluate_clip_judge(judge, load_vae(config.parts()), seed)
    return judge.state_dict(), steps, figures


def dynamics_of(people: list[Person]) -> Tensor:
    """(B, number of dynamics)"""
    return torch.tensor([[getattr(person, name) for name in DYNAMICS] for person in people], dtype=torch.float32)


def soften(frames: Tensor, seed: int) -> Tensor:
    """Frames (N, H, W, 3), each blurred by an amount of its own, with noise up to 0.04."""
    generator = torch.Generator().manual_seed(seed)
    blur, noise = torch.rand(2, len(frames), 1, 1, 1, generator=generator)
    x = rearrange(frames, "n h w c -> n c h w")
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    x = torch.lerp(x, blurred, blur) + 0.04 * noise * torch.randn(x.shape, generator=generator)
    return rearrange(x, "n c h w -> n h w c").clamp(0, 1)
