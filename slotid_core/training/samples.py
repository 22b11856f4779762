"""Sheets of sample clips during training: the same held-out people and noise each time, so that progress shows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from einops import rearrange
from torch import Tensor

from ..dataset.models import load_text_encoder
from ..files import whole_file
from ..wan.guidance import Predict
from ..wan.vae import WanVAE, denormalize_latents
from .processes import Processes

MOST_FRAMES = 5  # latent frames of a sheet: the decoder holds all frames of a clip at once, at 65 of 480p tens of GB


@torch.no_grad()
def decode(vae: WanVAE, latents: Tensor) -> Tensor:
    """Normalised latents (B, 16, T', h, w) -> frames (B, T, H, W, 3) in [0, 1], on the CPU."""
    device = next(vae.parameters()).device
    clips = [vae.decode(denormalize_latents(part.to(device).float())) for part in latents.split(1)]
    return (rearrange(torch.cat(clips).cpu(), "b c t h w -> b t h w c") * 0.5 + 0.5).clamp(0, 1)


def sheet_of_pairs(vae: WanVAE, references: Tensor, results: Sequence[Tensor], path: Path) -> None:
    """Latents of reference clips and of results, decoded: a reference, and below it its result at each strength."""
    clips = [decode(vae, result[:, :, :MOST_FRAMES]) for result in results]
    shown = decode(vae, references[:, :, : min(MOST_FRAMES, results[0].shape[2])])
    rows = [
        row
        for reference, *own in zip(shown, *clips, strict=True)
        for row in (fit(reference, clips[0].shape[2:4]), *own)
    ]
    save_sheet(rows, path)


def at_strength(predict: Predict, factor: float) -> Predict:
    """The prediction with so much of the person's usual strength."""

    def weaker(noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor | None) -> Tensor:
        return predict(noisy, noise_level, context, None if strength is None else factor * strength)

    return weaker


def prompts_of_sheets(prompts: Sequence[str], prepared: Mapping, processes: Processes) -> list[Tensor]:
    """Text rows (M, 4096) of prompts, by the encoder that the data was prepared with; every process must ask.

    It runs on the CPU, before the run begins, and is gone then.
    """
    if not prompts:
        return []
    rows: list = [None] * len(prompts)
    if processes.is_first:
        dtype = getattr(torch, prepared.get("text_encoder_dtype", "float32"))
        encoder = load_text_encoder(prepared["text_encoder"], dtype, torch.device("cpu"))
        with torch.inference_mode():
            rows = [encoder.encode(prompt).float().cpu() for prompt in prompts]
    if processes.count > 1:
        dist.broadcast_object_list(rows, device=processes.device)
    return [row.clone() for row in rows]


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
