"""Training of the face recogniser, a narrow IR-SE50 in the format of facexlib's file, on fresh drawings.

It is what systems may learn from, so it is a stranger to the face judge: other people, another network, another loss.
Each step shows everybody of a batch twice, as reference and as target do: a face picture, and a frame of a clip, some
of these through the VAE with latents that are a little off, as a model's estimate of a clean clip is.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..precision import fast_autocast
from ..reference.faces.face_encoder import FaceEncoder
from ..wan.vae import LATENT_STD, WanVAE
from .evaluate import to_drawings, to_pixels
from .evaluate_faces import evaluate_faces
from .face_pictures import as_if_detected, crops_of_face_pictures, crops_of_frames
from .family import TrainedAfterOthers, load_vae
from .motion import CLIP_FRAMES, Motion, move
from .person import HELD_OUT_FROM, Person, sample_person
from .render import FRAME_SIZE, draw, head_boxes, portrait_motion
from .scene import Scene, sample_scene
from .train_judges import FaceJudgeTraining, soften
from .training_loop import Schedule, load_trained, train

FINER = 3 * FRAME_SIZE // 2  # face pictures are drawn larger than they are kept
OFF = 0.15  # of a latent's standard deviation: the most by which an estimate is off
FIRST = FaceJudgeTraining.people  # seeds below are the judge's


@dataclass(frozen=True)
class FaceRecogniserTraining(TrainedAfterOthers):
    """Twenty minutes on one core.

    Attributes:
        people: so many, of the seeds behind those that the face judge is trained on.
        batch: people a step, each shown twice.
        through_vae: of these, how many frames go through the VAE.
        temperature: of the contrast between cosines.
    """

    width: int = 6
    people: int = 4000
    steps: int = 1000
    batch: int = 32
    through_vae: int = 8
    temperature: float = 0.1
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    save_every: int = 50


def contrastive_loss(first: Tensor, second: Tensor, temperature: float) -> tuple[Tensor, float]:
    """Supervised contrast (Khosla et al. 2020, eq. 2) over two unit vectors of each person, both (N, D).

    Returns:
        the loss, and the share of vectors whose nearest other one is the same person's.
    """
    every = torch.cat([first, second]).float()
    cosine = (every @ every.T).masked_fill(torch.eye(len(every), dtype=torch.bool, device=every.device), -1e4)
    own = torch.arange(len(every), device=every.device).roll(len(first))
    return F.cross_entropy(cosine / temperature, own), (cosine.argmax(1) == own).float().mean().item()


def train_face_recogniser(folder: Path, config: FaceRecogniserTraining | None = None, device: str = "cpu"):
    config = config or FaceRecogniserTraining()
    torch.manual_seed(0)
    encoder = FaceEncoder(config.width)
    vae = load_vae(config.parts())

    def draw_faces(step: int):
        rng = np.random.default_rng((step, 83))
        people = [sample_person(FIRST + int(one)) for one in rng.choice(config.people, config.batch, replace=False)]
        with fast_autocast("cpu", config.bfloat16):
            return face_pictures(people, rng), frames_of_clips(people, rng, vae, config.through_vae)

    def loss_of(step: int, pictures: Tensor, frames: Tensor):
        with fast_autocast(device, config.bfloat16):
            embedding = encoder(torch.cat([pictures, frames]))
        first, second = embedding.chunk(2)
        loss, right = contrastive_loss(first, second, config.temperature)
        return loss, {"right": right}

    schedule = Schedule(config.steps, config.learning_rate)
    name, decay = "face_recogniser", config.weight_decay
    train(name, encoder, draw_faces, loss_of, schedule, folder, config.save_every, decay, device=device)
    return encoder


def face_pictures(people: list[Person], rng: np.random.Generator) -> Tensor:
    """Crops (N, 3, 112, 112), half of them of portraits at rest, half of any frame in any scene."""
    half = len(people) // 2
    scenes, motions = moments(people[half:], rng)
    portraits = [portrait_motion() for _ in people[:half]]
    drawn = [draw(people[half:], scenes, motions, FINER)[:, 0]]
    if portraits:
        at_rest, still = (list(column) for column in zip(*portraits, strict=True))
        drawn.insert(0, draw(people[:half], at_rest, still, FINER, plain_background=True)[:, 0])
    shown = [*portraits, *zip(scenes, motions, strict=True)]
    frames = soften(torch.cat(drawn), int(rng.integers(2**31)))
    return crops_of_face_pictures(frames, boxes_of(shown, FINER, rng), FRAME_SIZE)


def frames_of_clips(people: list[Person], rng: np.random.Generator, vae: WanVAE, through_vae: int) -> Tensor:
    """Crops (N, 3, 112, 112) of any frame in any scene, the first ones as a VAE gives back an estimate of them."""
    scenes, motions = moments(people, rng)
    frames = draw(people, scenes, motions, FRAME_SIZE)[:, 0]
    seed = int(rng.integers(2**31))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        latents = vae.encode(to_pixels(frames[:through_vae, None])).float()
        amount = OFF * torch.rand(len(latents), 1, 1, 1, 1, generator=generator)
        noise = torch.randn(latents.shape, generator=generator) * torch.tensor(LATENT_STD).view(1, -1, 1, 1, 1)
        frames[:through_vae] = to_drawings(vae.decode(latents + amount * noise).float())[:, 0]
    frames = soften(frames, seed)
    return crops_of_frames(frames, boxes_of(zip(scenes, motions, strict=True), FRAME_SIZE, rng))


def moments(people: list[Person], rng: np.random.Generator) -> tuple[list[Scene], list[Motion]]:
    """A scene for each, and one frame of what they do in it."""
    scenes = [sample_scene(int(seed)) for seed in rng.integers(HELD_OUT_FROM, size=len(people))]
    starts = rng.integers(CLIP_FRAMES, size=len(people)).tolist()
    moved = zip(people, scenes, starts, strict=True)
    return scenes, [move(person, scene).frames(at, at + 1) for person, scene, at in moved]


def boxes_of(shown, size: int, rng: np.random.Generator) -> np.ndarray:
    """(N, 4), each a little off in its own way."""
    return np.concatenate([as_if_detected(head_boxes(scene, motion, size), rng) for scene, motion in shown])


def finish_face_recogniser(folder: Path, config: FaceRecogniserTraining, seed: int):
    encoder = FaceEncoder(config.width)
    steps = load_trained(folder, "face_recogniser", encoder)
    encoder = encoder.eval().requires_grad_(False)
    figures = evaluate_faces(encoder, None, seed) | evaluate_faces(encoder, load_vae(config.parts()), seed)
    return encoder.state_dict(), steps, figures
