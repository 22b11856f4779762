"""What the trained parts are worth on people they have never seen: figures, and sheets to look at."""

from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from tqdm import tqdm

from ..errors import SlotIDError
from ..wan.vae import LATENT_MEAN, LATENT_STD, WanVAE
from .family import load_vae
from .person import HELD_OUT_FROM, Person, sample_person
from .render import render_clips
from .scene import Scene, sample_scene

# Seeds of one evaluation; evaluations with different seeds share no person and no scene.
PER_SEED = 10_000


def held_out(seed: int, count: int, offset: int = 0) -> tuple[list[Person], list[Scene]]:
    """`count` people and scenes that no training has seen; the same for the same seed."""
    first = HELD_OUT_FROM + seed * PER_SEED + offset
    return [sample_person(first + i) for i in range(count)], [sample_scene(first + i) for i in range(count)]


def to_pixels(clips: Tensor) -> Tensor:
    """Drawings (B, T, H, W, 3) in [0, 1] -> VAE pixels (B, 3, T, H, W) in [-1, 1]."""
    return rearrange(clips, "b t h w c -> b c t h w") * 2 - 1


def to_drawings(pixels: Tensor) -> Tensor:
    """The inverse of `to_pixels`, kept within [0, 1]."""
    return (rearrange(pixels, "b c t h w -> b t h w c") * 0.5 + 0.5).clamp(0, 1)


@torch.no_grad()
def evaluate_vae(vae: WanVAE, seed: int = 0, num_clips: int = 64, sheet: Path | None = None) -> dict[str, float]:
    """Reconstruction of held-out 17-frame clips, and how far the latents are from Wan 2.1's statistics.

    Returns:
        `vae_psnr` in decibels, the mean over clips; `vae_psnr_worst`; `vae_mean_error` and `vae_std_error`, the worst
        channel's, relative to Wan's standard deviation.
    """
    people, scenes = held_out(seed, num_clips)
    decibels, latents, shown = [], [], []
    for start in tqdm(range(0, num_clips, 4), desc="VAE on held-out clips"):
        clips = render_clips(people[start : start + 4], scenes[start : start + 4])
        latents.append(vae.encode(to_pixels(clips)))
        rebuilt = to_drawings(vae.decode(latents[-1]))
        decibels.append(-10 * torch.log10((rebuilt - clips).square().mean((1, 2, 3, 4))))
        shown.append(torch.stack([clips, rebuilt], dim=1)[:, :, ::4])  # (4, 2, 5, H, W, 3)
    if sheet is not None:
        save_sheet(rearrange(torch.cat(shown)[:16], "(rows n) pair t h w c -> (rows pair) (n t) h w c", n=2), sheet)
    decibels, latents = torch.cat(decibels), torch.cat(latents)
    wan_std = torch.tensor(LATENT_STD)
    return {
        "vae_psnr": decibels.mean().item(),
        "vae_psnr_worst": decibels.min().item(),
        "vae_mean_error": ((latents.mean((0, 2, 3, 4)) - torch.tensor(LATENT_MEAN)) / wan_std).abs().max().item(),
        "vae_std_error": (latents.std((0, 2, 3, 4)) / wan_std - 1).abs().max().item(),
    }


def evaluate_family(folder: Path, seed: int, sheets: Path) -> dict[str, float]:
    """Figures of every part that is there."""
    figures: dict[str, float] = {}
    if (folder / "vae.safetensors").exists():
        figures |= evaluate_vae(load_vae(folder), seed, sheet=sheets / "vae.png")
    if not figures:
        raise SlotIDError(f"There are no trained parts in {folder}. Train them: python -m slotid_core.toy_world all")
    return figures


def save_sheet(frames: Tensor, path: Path, scale: int = 2) -> None:
    """Frames (rows, columns, H, W, 3) in [0, 1] as one PNG."""
    from PIL import Image

    pixels = rearrange((frames * 255).round().to(torch.uint8), "r k h w c -> (r h) (k w) c").numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.repeat(np.repeat(pixels, scale, 0), scale, 1)).save(path, optimize=True)
