"""Training of the toy Wan transformer: flow matching on latents of the toy VAE, captions through the toy umT5.

The objective is Wan's: z_t = (1 - t) z + t ε, the velocity ε - z is predicted. t is drawn as sampling visits it: who
it is and what happens is decided at high noise. A caption is dropped now and then, so that classifier-free guidance
works.

A second stage is about what happens: most of a drawing stands still, so a model may paint every place rightly and
never nod. There the error counts for more where clips move, and its change from frame to frame once more. Both are
fixed linear maps of the error, so the velocity that is best is the same. Trained on from weights that know scenes, the
second stage is the only one.

Captions of some steps describe the person, by a few words or by all that the clip shows. A stage between the two
learns these words from single frames at high noise, where looks are decided: a frame has a fifth of a clip's tokens,
so that a step sees several times as many people.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..precision import fast_autocast
from ..wan import WanConfig, WanModel
from ..wan.sampling import shifted
from ..wan.vae import normalize_latents
from ..weights import load_weights, save_weights
from .captions import caption
from .descriptions import describe, some_factors, visible_factors
from .evaluate import evaluate_dit, to_pixels
from .family import FLOW_SHIFT, WEIGHTS, TrainedAfterOthers, load_dit, load_text_model, load_vae
from .judges import REVEALS
from .person import HELD_OUT_FROM, sample_person
from .render import render_clips
from .scene import ACTIONS, Scene, sample_scene
from .training_loop import Schedule, load_trained, train

LATENTS_KIND, LATENTS_VERSION = "toy_latents", 1
SHARD = 256
# How many of a person's factors captions of a step name at most. One number a step, since the longest prompt of a
# batch sets how many rows all of them have.
EVERYTHING = 1000
WAYS_OF_MOVING = -1  # in place of a number: what the action shows of how somebody moves, and no looks
DESCRIBED_AT_MOST = (0, 4, 10, EVERYTHING, WAYS_OF_MOVING)
IN_FRAMES_AT_MOST = (6, 6, 12, EVERYTHING)  # the same in the stage that learns words from single frames


@dataclass(frozen=True)
class DiTTraining(TrainedAfterOthers):
    """`clips` latents are made once, then read by `steps` steps, and `motion_steps` of the second stage.

    `motion_weight` is that of the error's change from frame to frame. Half of a batch draws its noise levels with
    `timestep_shift`, half with `identity_shift`: who it is is decided at higher noise than what happens.
    `word_steps` of single frames, `word_batch` a step, come before the second stage.
    """

    start_from: str = ""  # a folder of weights, or "shipped": then the second stage only; empty is from scratch

    width: int = 256
    ffn_width: int = 1024
    layers: int = 5
    clips: int = 16384
    steps: int = 16000
    batch: int = 24
    learning_rate: float = 1e-3
    word_steps: int = 4000
    word_batch: int = 64
    word_learning_rate: float = 1e-3
    word_shift: float = 8.0
    motion_steps: int = 4000
    motion_learning_rate: float = 5e-4
    motion_weight: float = 2.0
    timestep_shift: float = FLOW_SHIFT  # 1 draws t uniformly
    identity_shift: float = 5.0
    caption_dropout: float = 0.1
    average: float = 0.999

    def model(self) -> WanConfig:
        return WanConfig(self.width, self.ffn_width, self.layers, self.width // 128)


def scene_of(clip: int) -> Scene:
    """Each training clip has a person of its own; so has its scene."""
    return sample_scene(clip)


@torch.no_grad()
def training_latents(folder: Path, config: DiTTraining) -> Tensor:
    """Normalised latents of all training clips (clips, 16, 5, 8, 8); shards that exist are kept."""
    vae = None
    shards = []
    for first in tqdm(range(0, config.clips, SHARD), desc="latents"):
        path = folder / f"latents_{first:06d}.safetensors"
        if not path.exists():
            vae = vae or load_vae(config.parts())
            seeds = range(first, min(first + SHARD, config.clips))
            parts = [encode(vae, list(seeds[i : i + 4])) for i in range(0, len(seeds), 4)]
            header = {"kind": LATENTS_KIND, "version": LATENTS_VERSION, "first": first}
            save_weights(path, {"latents": torch.cat(parts).half()}, header)
        shards.append(load_weights(path, LATENTS_KIND, LATENTS_VERSION)[0]["latents"])
    return torch.cat(shards).float()


def encode(vae, seeds: list[int]) -> Tensor:
    clips = render_clips([sample_person(seed) for seed in seeds], [scene_of(seed) for seed in seeds])
    return normalize_latents(vae.encode(to_pixels(clips)))


def train_dit(folder: Path, config: DiTTraining | None = None, device: str = "cpu") -> WanModel:
    config = config or DiTTraining()
    latents = training_latents(folder, config)
    text = load_text_model(config.parts())
    torch.manual_seed(0)
    model = WanModel(config.model())
    torch.nn.init.zeros_(model.head.head.weight)
    if config.start_from:
        model = load_dit(WEIGHTS if config.start_from == "shipped" else Path(config.start_from)).train()
        model.requires_grad_(True)

    def draw_frames(step: int):
        rng = np.random.default_rng((step, 53))
        generator = torch.Generator().manual_seed(step)
        chosen = rng.integers(len(latents), size=config.word_batch)
        at_most = IN_FRAMES_AT_MOST[rng.integers(len(IN_FRAMES_AT_MOST))]
        prompts = [described_caption(int(clip), rng, at_most) for clip in chosen]
        clean = latents[torch.from_numpy(chosen), :, :1]
        noise = torch.randn(clean.shape, generator=generator)
        t = shifted(torch.rand(len(clean), generator=generator), config.word_shift)
        return clean, noise, t, text(prompts)

    def draw_latents(step: int):
        rng = np.random.default_rng((step, 47))
        generator = torch.Generator().manual_seed(step)
        chosen = rng.integers(len(latents), size=config.batch)
        at_most = DESCRIBED_AT_MOST[rng.integers(len(DESCRIBED_AT_MOST))]
        prompts = [
            "" if rng.random() < config.caption_dropout else described_caption(int(clip), rng, at_most)
            for clip in chosen
        ]
        clean = latents[torch.from_numpy(chosen)]
        noise = torch.randn(clean.shape, generator=generator)
        t = torch.rand(len(clean), generator=generator)
        t[0::2], t[1::2] = shifted(t[0::2], config.timestep_shift), shifted(t[1::2], config.identity_shift)
        return clean, noise, t, text(prompts)

    def error_of(clean: Tensor, noise: Tensor, t: Tensor, context: Tensor) -> Tensor:
        noisy = torch.lerp(clean, noise, t.view(-1, 1, 1, 1, 1))
        with fast_autocast(clean.device, config.bfloat16):
            velocity = model(noisy, 1000 * t, context, padding_row=context.shape[1] - 1)
        return velocity.float() - (noise - clean)  # (B, 16, T, H, W)

    def loss_of(step: int, *batch: Tensor):
        return error_of(*batch).square().mean(), {}

    kept = {"save_every": config.save_every, "average": config.average, "device": device}
    if not config.start_from:
        schedule = Schedule(config.steps, config.learning_rate, warmup=200)
        train("dit", model, draw_latents, loss_of, schedule, folder, **kept)
        load_trained(folder, "dit", model)  # the average

    if config.word_steps:
        schedule = Schedule(config.word_steps, config.word_learning_rate, warmup=200)
        train("dit_words", model, draw_frames, loss_of, schedule, folder, **kept)
        load_trained(folder, "dit_words", model)

    weight = where_clips_move(latents).to(device)

    def motion_loss(step: int, *batch: Tensor):
        error = error_of(*batch)
        change = 0.5 * (weight * error.diff(dim=2).square()).mean()
        return (weight * error.square()).mean() + config.motion_weight * change, {"change": change.item()}

    schedule = Schedule(config.motion_steps, config.motion_learning_rate, warmup=300)
    train("dit_motion", model, lambda step: draw_latents(1_000_000 + step), motion_loss, schedule, folder, **kept)
    return model


def described_caption(clip: int, rng: np.random.Generator, at_most: int) -> str:
    """A caption of a training clip that names a random number of its person's factors, `at_most` or fewer.

    If it may name everything, every other one does. Few captions of looks say how somebody moves, so that
    `WAYS_OF_MOVING` names that alone.
    """
    person, scene = sample_person(clip), scene_of(clip)
    if at_most == WAYS_OF_MOVING:
        names = tuple(rng.permutation(REVEALS[ACTIONS[scene.action]]))
    elif at_most >= EVERYTHING and rng.random() < 0.5:
        names = tuple(rng.permutation(visible_factors(person, scene)))
    else:
        names = some_factors(person, scene, rng, at_most)
    return caption(scene, int(rng.integers(HELD_OUT_FROM)), describe(person, rng, names))


def where_clips_move(latents: Tensor) -> Tensor:
    """(clips, 16, T, H, W) -> (H, W), 1 on average and at least 0.5: more where latents change from frame to frame."""
    moves = latents.diff(dim=2).square().mean((0, 1, 2))
    return 0.5 + 0.5 * moves / moves.mean()


def finish_dit(folder: Path, config: DiTTraining, seed: int) -> tuple[dict[str, Tensor], int, dict[str, float]]:
    model = WanModel(config.model()).eval()
    stage = "dit_motion" if (folder / "dit_motion.safetensors").exists() else "dit"
    steps = load_trained(folder, stage, model) + (0 if stage == "dit" or config.start_from else config.steps)
    figures = evaluate_dit(model, config.parts(), seed, sheet=folder / "dit.png")
    return model.state_dict(), steps, figures
