"""Training of the toy VAE: single frames first, as 2D convolutions, then short clips, then what moves in longer ones.

A linear code of 16 numbers per 8×8 patch (PCA) already reconstructs these drawings well, so the first stage pulls
the encoder to that code while the decoder learns to draw from it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..precision import fast_autocast
from ..wan.vae import LATENT_MEAN, LATENT_STD, CausalConv3d, Downsample, Upsample, WanVAE, WanVAEConfig
from .evaluate import balanced, evaluate_vae, latents_of
from .motion import CLIP_FRAMES
from .person import HELD_OUT_FROM, sample_person
from .render import render_pieces
from .scene import sample_scene
from .training_loop import Schedule, load_trained, train

PATCH, CODE = 8, 16
STAGES = ("vae_images", "vae_clips", "vae_motion")


@dataclass(frozen=True)
class VAETraining:
    """Settings of the three stages; lengths are 4n+1 frames.

    Most of a drawing stands still, so a VAE that forgets how mouths move loses little by the mean error. The last stage
    weighs what changes from frame to frame by up to 1 + `motion_weight`.
    """

    width: int = 16
    image_steps: int = 2500
    image_batch: int = 16
    image_learning_rate: float = 1.5e-3
    clip_steps: int = 1800
    clip_batch: int = 4
    clip_length: int = 5
    clip_learning_rate: float = 1.2e-4  # more, and the noise of a few clips undoes what single frames taught
    motion_steps: int = 8000
    motion_batch: int = 2
    motion_length: int = 9
    motion_learning_rate: float = 2e-4
    motion_weight: float = 6.0
    average: float = 0.998  # of the later stages' weights; few clips a step make single steps noisy
    bfloat16: bool = True  # of convolutions; two thirds of the time on CPUs that have it
    save_every: int = 200


def random_pieces(seed: int, count: int, length: int) -> Tensor:
    """`count` pieces of `length` frames from random people and scenes. (B, 3, length, 64, 64) in [-1, 1]."""
    rng = np.random.default_rng((seed, 31))
    people, scenes, starts = [], [], []
    for _ in range(count):
        people.append(sample_person(int(rng.integers(HELD_OUT_FROM))))
        scenes.append(sample_scene(int(rng.integers(HELD_OUT_FROM))))
        starts.append(int(rng.integers(CLIP_FRAMES - length + 1)))
    return rearrange(render_pieces(people, scenes, starts, length), "b t h w c -> b c t h w") * 2 - 1


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


def reconstruction_loss(output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of absolute and squared error, and of differences between neighbours, which keeps edges sharp.

    `weight` (B, 1, T, H, W): how much each pixel counts; by default all alike.
    """
    error = output - target
    if weight is not None:
        error = error * (weight / weight.mean()).sqrt()
    edges = error.diff(dim=3).abs().mean() + error.diff(dim=4).abs().mean()
    return error.abs().mean() + 8 * error.square().mean() + 0.5 * edges


def psnr(output: Tensor, target: Tensor) -> float:
    """Decibels over values in [-1, 1]."""
    return float(10 * torch.log10(4 / (output.detach().clamp(-1, 1) - target).square().mean()))


def train_vae(folder: Path, config: VAETraining | None = None, device: str = "cpu") -> WanVAE:
    """Train to the end, from wherever the checkpoints in `folder` are."""
    config = config or VAETraining()
    torch.manual_seed(0)
    vae = WanVAE(WanVAEConfig(width=config.width))
    mean, projection = (tensor.to(device) for tensor in linear_code())
    fast = fast_autocast(device, config.bfloat16)

    def draw_images(step: int):
        return (random_pieces(step + 1, config.image_batch, 1),)

    def image_loss(step: int, pixels: Tensor):
        code = rearrange((to_patches(pixels) - mean) @ projection, "b t h w c -> b c t h w")
        with fast:
            latents = vae.encode(pixels).float()
        pull = F.mse_loss(latents, code)
        trust = min(1.0, step / (0.4 * config.image_steps))  # from the linear code to the encoder's own latents
        with fast:
            output = vae.decode(torch.lerp(code, latents, trust)).float()
        loss = reconstruction_loss(output, pixels) + (0.3 * (1 - trust) + 0.01) * pull
        return loss, {"psnr": psnr(output, pixels), "pull": pull.item()}

    schedule = Schedule(config.image_steps, config.image_learning_rate, final_fraction=0.2)
    train("vae_images", vae, draw_images, image_loss, schedule, folder, config.save_every, device=device)

    treat_frames_alone(vae)

    def draw_clips(step: int):
        count, length = size_of_step(step, config.clip_batch, config.clip_length)
        return (random_pieces(1_000_000 + step, count, length),)

    def clip_loss(step: int, pixels: Tensor):
        with fast:
            latents = vae.encode(pixels).float()
            output = vae.decode(latents).float()
        spread = (latents.mean().square() + (latents.std() - 1).square()) * 0.01
        return reconstruction_loss(output, pixels) + spread, {"psnr": psnr(output, pixels), "std": latents.std().item()}

    schedule = Schedule(config.clip_steps, config.clip_learning_rate)
    kept = {"save_every": config.save_every, "average": config.average, "device": device}
    train("vae_clips", vae, draw_clips, clip_loss, schedule, folder, **kept)
    load_trained(folder, "vae_clips", vae)  # the average

    def draw_motion(step: int):
        count, length = size_of_step(step, config.motion_batch, config.motion_length)
        return (random_pieces(2_000_000 + step, count, length),)

    def motion_loss(step: int, pixels: Tensor):
        with fast:
            latents = vae.encode(pixels).float()
            output = vae.decode(latents).float()
        spread = (latents.mean().square() + (latents.std() - 1).square()) * 0.01
        loss = reconstruction_loss(output, pixels, 1 + config.motion_weight * how_much_moves(pixels))
        return loss + spread, {"psnr": psnr(output, pixels), "std": latents.std().item()}

    schedule = Schedule(config.motion_steps, config.motion_learning_rate)
    train("vae_motion", vae, draw_motion, motion_loss, schedule, folder, **kept)
    return vae


def size_of_step(step: int, count: int, length: int) -> tuple[int, int]:
    """Clips and frames: every fourth step has longer clips, which alone show what lies two latent frames back."""
    return (max(1, count // 2), 2 * length - 1) if step % 4 == 3 else (count, length)


def how_much_moves(pixels: Tensor) -> Tensor:
    """0 to 1 around what changes within two frames: (B, 3, T, H, W) -> (B, 1, T, H, W)."""
    change = pixels.diff(dim=2).abs().amax(1, keepdim=True)
    change = F.pad(change, (0, 0, 0, 0, 1, 1), mode="replicate")  # a frame looks at both of its neighbours
    return F.max_pool3d(change, (2, 5, 5), stride=1, padding=(0, 2, 2)).clamp(0, 1)


def zero_bias(convolution: nn.Conv3d) -> None:
    assert convolution.bias is not None  # every convolution of Wan's VAE has one
    nn.init.zeros_(convolution.bias)


@torch.no_grad()
def treat_frames_alone(vae: WanVAE) -> None:
    """Let a VAE that knows single frames start on clips as if each frame were one.

    Kernels forget the past, halving time averages two frames, doubling it repeats one: 27 dB at the first step where
    fresh temporal weights give 11.
    """
    for module in vae.modules():
        if isinstance(module, CausalConv3d) and module.kernel_size[1] > 1:
            module.weight[:, :, :-1] = 0
        elif isinstance(module, Downsample) and module.time_conv is not None:
            zero_bias(module.time_conv)
            module.time_conv.weight.zero_()[:, :, 1:, 0, 0] = 0.5 * torch.eye(len(module.time_conv.weight)).unsqueeze(2)
        elif isinstance(module, Upsample) and module.time_conv is not None:
            zero_bias(module.time_conv)
            same = torch.eye(module.time_conv.in_channels)
            module.time_conv.weight.zero_()[:, :, -1, 0, 0] = torch.cat([same, same])


def finish_vae(folder: Path, config: VAETraining, seed: int) -> tuple[dict[str, Tensor], int, dict[str, float]]:
    """Weights of the last checkpoint, with Wan 2.1's latent statistics; steps of all stages; held-out figures."""
    vae = WanVAE(WanVAEConfig(width=config.width)).eval()
    begun = [name for name in STAGES if (folder / f"{name}.safetensors").exists()]
    before = {"vae_images": 0, "vae_clips": config.image_steps, "vae_motion": config.image_steps + config.clip_steps}
    steps = before[begun[-1]] + load_trained(folder, begun[-1], vae)
    to_wan_statistics(vae)
    weights = {name: tensor.half() for name, tensor in vae.state_dict().items()}
    vae.load_state_dict(weights)
    return weights, steps, evaluate_vae(vae, seed, sheet=folder / "vae.png")


@torch.no_grad()
def to_wan_statistics(vae: WanVAE, num_clips: int = 216) -> None:
    """Fold an affine into both ends of the latent, so that latents have Wan 2.1's mean and std in every channel."""
    latents = latents_of(vae, *balanced(HELD_OUT_FROM // 2, num_clips))
    mean, std = latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
    wanted_mean, wanted_std = torch.tensor(LATENT_MEAN), torch.tensor(LATENT_STD)
    scale = wanted_std / std
    shift = wanted_mean - scale * mean
    out, into = vae.conv1, vae.conv2
    assert out.bias is not None and into.bias is not None  # Wan's VAE has them
    out.weight[:CODE] *= scale.view(-1, 1, 1, 1, 1)
    out.bias[:CODE] = out.bias[:CODE] * scale + shift
    into.bias -= torch.einsum("oizyx,i->o", into.weight, shift / scale)
    into.weight /= scale.view(1, -1, 1, 1, 1)
