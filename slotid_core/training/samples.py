"""Sheets of sample clips during training: the same held-out people and noise each time, so that progress shows."""

from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ..files import whole_file
from ..wan.vae import WanVAE, denormalize_latents

MOST_FRAMES = 5  # latent frames of a sheet: the decoder holds all frames of a clip at once, at 65 of 480p tens of GB


@torch.no_grad()
def decode(vae: WanVAE, latents: Tensor) -> Tensor:
    """Normalised latents (B, 16, T', h, w) -> frames (B, T, H, W, 3) in [0, 1], on the CPU."""
    device = next(vae.parameters()).device
    clips = [vae.decode(denormalize_latents(part.to(device).float())) for part in latents.split(1)]
    return (rearrange(torch.cat(clips).cpu(), "b c t h w -> b t h w c") * 0.5 + 0.5).clamp(0, 1)


def sheet_of_pairs(vae: WanVAE, references: Tensor, results: Tensor, path: Path) -> None:
    """Latents of reference clips and of results, decoded: a reference, and below it its result."""
    results = results[:, :, :MOST_FRAMES]
    clips = decode(vae, results)
    shown = decode(vae, references[:, :, : results.shape[2]])
    rows = [row for pair in zip(shown, clips, strict=True) for row in (fit(pair[0], clips.shape[2:4]), pair[1])]
    save_sheet(rows, path)


def fit(clip: Tensor, size) -> Tensor:
    """A clip (T, H, W, 3) at another size."""
    resized = torch.nn.functional.interpolate(clip.movedim(-1, 1), tuple(size), mode="area")
    return resized.movedim(1, -1)


def save_sheet(rows: list[Tensor], path: Path, columns: int = 5) -> None:
    """Clips (T, H, W, 3) of one size, one a row, `columns` frames of each spread evenly."""
    from PIL import Image

    chosen = [row[torch.linspace(0, len(row) - 1, columns).round().long()] for row in rows]
    sheet = rearrange(torch.stack(chosen), "r k h w c -> (r h) (k w) c")
    with whole_file(path) as unfinished:
        Image.fromarray((sheet.numpy() * 255).round().astype(np.uint8)).save(unfinished)
