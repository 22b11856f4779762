"""Training of the toy VAE: single frames first, as 2D convolutions, then short clips.

A linear code of 16 numbers per 8×8 patch (PCA) already reconstructs these drawings well, so the first stage pulls
the encoder to that code while the decoder learns to draw from it.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ..wan.vae import LATENT_MEAN, LATENT_STD, WanVAE, WanVAEConfig
from .motion import CLIP_FRAMES, Motion, move
from .person import HELD_OUT_FROM, sample_person
from .render import draw
from .scene import sample_scene
from .training_loop import Schedule, train

WIDTH, PATCH, CODE = 8, 8, 16
IMAGE_STEPS, IMAGE_BATCH = 2500, 16
CLIP_STEPS, CLIP_BATCH, CLIP_LENGTH = 3500, 4, 5


def random_pieces(seed: int, count: int, length: int) -> Tensor:
    """`count` pieces of `length` frames from random people and scenes. (B, 3, length, 64, 64) in [-1, 1]."""
    rng = np.random.default_rng((seed, 31))
    people, scenes, motions = [], [], []
    for _ in range(count):
        people.append(sample_person(int(rng.integers(HELD_OUT_FROM))))
        scenes.append(sample_scene(int(rng.integers(HELD_OUT_FROM))))
        start = int(rng.integers(CLIP_FRAMES - length + 1))
        whole = move(people[-1], scenes[-1])
        motions.append(Motion(*(getattr(whole, name)[start : start + length] for name in Motion.__dataclass_fields__)))
    return rearrange(draw(people, scenes, motions, 64), "b t h w c -> b c t h w") * 2 - 1


def linear_code() -> tuple[Tensor, Tensor]:
    """Mean (192,) and whitened projection (192, 16) of 8×8 patches; 16 numbers that say most about a patch."""
    patches = to_patches(random_pieces(0, 512, 1)).flatten(0, -2)
    mean = patches.mean(0)
    _, singular, directions = torch.linalg.svd(patches - mean, full_matrices=False)
    scale = singular[:CODE] / len(patches) ** 0.5
    # A turn of the 16 axes spreads what they say evenly, so that every latent channel matters alike.
    turn = torch.linalg.qr(torch.randn(CODE, CODE, generator=torch.Generator().manual_seed(1)))[0]
    return mean, directions[:CODE].T @ (turn / scale[:, None])


def to_patches(pixels: Tensor) -> Tensor:
    return rearrange(pixels, "b c t (h p) (w q) -> b t h w (c p q)", p=PATCH, q=PATCH)


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """Mean of absolute and squared error, and of differences between neighbours, which keeps edges sharp."""
    error = output - target
    edges = error.diff(dim=3).abs().mean() + error.diff(dim=4).abs().mean()
    return error.abs().mean() + 2 * error.square().mean() + 0.5 * edges


def psnr(output: Tensor, target: Tensor) -> float:
    """Decibels over values in [-1, 1]."""
    return float(10 * torch.log10(4 / (output.detach().clamp(-1, 1) - target).square().mean()))


def train_vae(folder: Path) -> WanVAE:
    torch.manual_seed(0)
    vae = WanVAE(WanVAEConfig(width=WIDTH))
    mean, projection = linear_code()

    def image_loss(step: int):
        pixels = random_pieces(step + 1, IMAGE_BATCH, 1)
        code = rearrange((to_patches(pixels) - mean) @ projection, "b t h w c -> b c t h w")
        latents = vae.encode(pixels)
        pull = F.mse_loss(latents, code)
        trust = min(1.0, step / (0.4 * IMAGE_STEPS))  # from the linear code to the encoder's own latents
        output = vae.decode(torch.lerp(code, latents, trust))
        loss = reconstruction_loss(output, pixels) + (0.3 * (1 - trust) + 0.01) * pull
        return loss, {"psnr": psnr(output, pixels), "pull": pull.item()}

    train("vae_images", vae, image_loss, Schedule(IMAGE_STEPS, 2e-3, final_fraction=0.2), folder)

    def clip_loss(step: int):
        pixels = random_pieces(1_000_000 + step, CLIP_BATCH, CLIP_LENGTH)
        latents = vae.encode(pixels)
        output = vae.decode(latents)
        spread = (latents.mean().square() + (latents.std() - 1).square()) * 0.01
        return reconstruction_loss(output, pixels) + spread, {"psnr": psnr(output, pixels), "std": latents.std().item()}

    train("vae_clips", vae, clip_loss, Schedule(CLIP_STEPS, 1e-3), folder)
    return vae


@torch.no_grad()
def to_wan_statistics(vae: WanVAE, num_clips: int = 64) -> None:
    """Fold an affine into both ends of the latent, so that latents have Wan 2.1's mean and std in every channel."""
    latents = torch.cat([vae.encode(random_pieces(2_000_000 + i, 1, CLIP_FRAMES)) for i in range(num_clips)])
    mean, std = latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
    wanted_mean, wanted_std = torch.tensor(LATENT_MEAN), torch.tensor(LATENT_STD)
    scale = wanted_std / std
    shift = wanted_mean - scale * mean
    out, into = vae.conv1, vae.conv2
    out.weight[:CODE] *= scale.view(-1, 1, 1, 1, 1)
    out.bias[:CODE] = out.bias[:CODE] * scale + shift
    into.bias -= torch.einsum("oizyx,i->o", into.weight, shift / scale)
    into.weight /= scale.view(1, -1, 1, 1, 1)
