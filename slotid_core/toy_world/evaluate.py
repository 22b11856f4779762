"""What the trained parts are worth on people they have never seen: figures, and sheets to look at."""

from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from tqdm import tqdm

from ..errors import SlotIDError
from ..files import whole_file
from ..wan import WanModel
from ..wan.sampling import euler
from ..wan.text_encoder import TextEncoder
from ..wan.vae import LATENT_MEAN, LATENT_STD, WanVAE, denormalize_latents
from .captions import caption
from .family import (
    FLOW_SHIFT,
    has_part,
    load_clip_judge,
    load_dit,
    load_face_judge,
    load_mark_judge,
    load_text_model,
    load_vae,
)
from .judges import ClipJudge, FaceJudge, MarkJudge, marks_in_view, reveals
from .motion import turn_of
from .person import DYNAMICS, HELD_OUT_FROM, MARKS, Person, sample_person
from .render import render_clips
from .scene import LOOK_AROUND, Scene, sample_scene

# Seeds of one evaluation; evaluations with different seeds share no person and no scene.
PER_SEED = 10_000


def held_out(seed: int, count: int, offset: int = 0) -> tuple[list[Person], list[Scene]]:
    """`count` held-out people and scenes; the same for the same seed."""
    first = HELD_OUT_FROM + seed * PER_SEED + offset
    return [sample_person(first + i) for i in range(count)], [sample_scene(first + i) for i in range(count)]


def balanced(first: int, count: int) -> tuple[list[Person], list[Scene]]:
    """People and scenes of the seeds from `first` on, with every action, background and clothes equally often.

    Latents depend most on what is in the scene, so fewer clips tell their statistics than of random scenes.
    """
    seeds = range(first, first + count)
    scenes = [sample_scene(s, action=s // 36 % 6, background=s % 6, clothes=s // 6 % 6) for s in seeds]
    return [sample_person(seed) for seed in seeds], scenes


@torch.no_grad()
def latents_of(vae: WanVAE, people: list[Person], scenes: list[Scene]) -> Tensor:
    """Latents of 17-frame clips (B, 16, 5, 8, 8), as the VAE gives them."""
    starts = tqdm(range(0, len(people), 4), desc="latents")
    return torch.cat([vae.encode(to_pixels(render_clips(people[i : i + 4], scenes[i : i + 4]))) for i in starts])


def to_pixels(clips: Tensor) -> Tensor:
    """Drawings (B, T, H, W, 3) in [0, 1] -> VAE pixels (B, 3, T, H, W) in [-1, 1]."""
    return rearrange(clips, "b t h w c -> b c t h w") * 2 - 1


def to_drawings(pixels: Tensor) -> Tensor:
    """The inverse of `to_pixels`, kept within [0, 1]."""
    return (rearrange(pixels, "b c t h w -> b t h w c") * 0.5 + 0.5).clamp(0, 1)


@torch.no_grad()
def evaluate_vae(vae: WanVAE, seed: int = 0, num_clips: int = 64, sheet: Path | None = None) -> dict[str, float]:
    """Reconstruction of held-out 17-frame clips, and how far latents of 216 others are from Wan 2.1's statistics.

    Returns:
        `vae_psnr` in decibels, the mean over clips; `vae_psnr_worst`; `vae_mean_error` and `vae_std_error`, the worst
        channel's, relative to Wan's standard deviation.
    """
    people, scenes = held_out(seed, num_clips)
    decibels, shown = [], []
    for start in tqdm(range(0, num_clips, 4), desc="VAE on held-out clips"):
        clips = render_clips(people[start : start + 4], scenes[start : start + 4])
        rebuilt = through_vae(clips, vae)
        decibels.append(-10 * torch.log10((rebuilt - clips).square().mean((1, 2, 3, 4))))
        shown.append(torch.stack([clips, rebuilt], dim=1)[:, :, ::4])  # (4, 2, 5, H, W, 3)
    if sheet is not None:
        save_sheet(rearrange(torch.cat(shown)[:16], "(rows n) pair t h w c -> (rows pair) (n t) h w c", n=2), sheet)
    decibels = torch.cat(decibels)
    latents = latents_of(vae, *balanced(HELD_OUT_FROM + seed * PER_SEED + PER_SEED // 2, 216))
    wan_std = torch.tensor(LATENT_STD)
    return {
        "vae_psnr": decibels.mean().item(),
        "vae_psnr_worst": decibels.min().item(),
        "vae_mean_error": ((latents.mean((0, 2, 3, 4)) - torch.tensor(LATENT_MEAN)) / wan_std).abs().max().item(),
        "vae_std_error": (latents.std((0, 2, 3, 4)) / wan_std - 1).abs().max().item(),
    }


@torch.no_grad()
def through_vae(clips: Tensor, vae: WanVAE | None) -> Tensor:
    """Clips (B, T, H, W, 3) as the VAE gives them back; as they are without one."""
    if vae is None:
        return clips
    return torch.cat([to_drawings(vae.decode(vae.encode(to_pixels(part)))) for part in clips.split(4)])


@torch.no_grad()
def evaluate_face_judge(
    judge: FaceJudge, vae: WanVAE | None, seed: int = 0, num_people: int = 200, picture: Path | None = None
) -> dict[str, float]:
    """Is it the same held-out person in two different scenes? Clips of 17 frames, through the VAE if one is given.

    Returns:
        the true-accept rate at 1% false accepts, the similarity from which on there are so few, and the mean
        similarity of same and of different people.
    """
    sides = []
    for side in (0, 1):
        people, _ = held_out(seed, num_people)
        _, scenes = held_out(seed, num_people, offset=num_people * (1 + side))
        batches = range(0, num_people, 4)
        clips = (render_clips(people[start : start + 4], scenes[start : start + 4]) for start in batches)
        embeddings = [
            judge.embed_clips(through_vae(c, vae)) for c in tqdm(clips, total=len(batches), desc="face judge")
        ]
        sides.append(torch.cat(embeddings))
    similarity = sides[0] @ sides[1].T
    same = similarity.diagonal()
    different = similarity[~torch.eye(num_people, dtype=torch.bool)]
    threshold = different.quantile(0.99)
    if picture is not None:
        plot_pairs(same, different, threshold.item(), picture)
    name = "face_judge" if vae is None else "face_judge_vae"
    return {
        f"{name}_true_accepts": (same > threshold).float().mean().item(),
        f"{name}_threshold": threshold.item(),
        f"{name}_same": same.mean().item(),
        f"{name}_different": different.mean().item(),
    }


@torch.no_grad()
def evaluate_clip_judge(judge: ClipJudge, vae: WanVAE | None, seed: int = 0, num_clips: int = 240) -> dict[str, float]:
    """Accuracies, and each dynamics factor's correlation with the truth over the clips whose action shows it."""
    people, scenes = held_out(seed, num_clips)
    predictions: dict[str, list[Tensor]] = {}
    for start in tqdm(range(0, num_clips, 4), desc="clip judge"):
        clips = through_vae(render_clips(people[start : start + 4], scenes[start : start + 4]), vae)
        for key, value in judge(clips).items():
            predictions.setdefault(key, []).append(value)
    name = "clip_judge" if vae is None else "clip_judge_vae"
    figures = {}
    for key in ("action", "background", "clothes"):
        wanted = torch.tensor([getattr(scene, key) for scene in scenes])
        figures[f"{name}_{key}"] = (torch.cat(predictions[key]).argmax(1) == wanted).float().mean().item()
    shown = reveals(torch.tensor([scene.action for scene in scenes]))
    estimates = torch.cat(predictions["dynamics"])
    for index, factor in enumerate(DYNAMICS):
        rows = shown[:, index]
        truth = torch.tensor([getattr(person, factor) for person in people])[rows]
        figures[f"{name}_{factor}"] = torch.corrcoef(torch.stack([estimates[rows, index], truth]))[0, 1].item()
    return figures


@torch.no_grad()
def evaluate_mark_judge(judge: MarkJudge, vae: WanVAE | None, seed: int = 0, num_clips: int = 160) -> dict[str, float]:
    """Accuracy of turns, and balanced accuracy of each mark: the mean over clips with it and clips without it."""
    people, _ = held_out(seed, num_clips)
    scenes = [sample_scene(HELD_OUT_FROM + seed * PER_SEED + number, LOOK_AROUND) for number in range(num_clips)]
    predictions: dict[str, list[Tensor]] = {"marks": [], "turn": []}
    for start in tqdm(range(0, num_clips, 4), desc="mark judge"):
        clips = through_vae(render_clips(people[start : start + 4], scenes[start : start + 4]), vae)
        for name, value in judge(clips).items():
            predictions[name].append(value > 0)
    turns = torch.tensor([turn_of(scene) for scene in scenes])
    pairs = zip(people, turns.tolist(), strict=True)
    seen = torch.tensor([marks_in_view(person, turn) for person, turn in pairs])
    marks = torch.cat(predictions["marks"])
    name = "mark_judge" if vae is None else "mark_judge_vae"
    figures = {f"{name}_turn": (torch.cat(predictions["turn"]) == (turns > 0)).float().mean().item()}
    for place, mark in enumerate(MARKS):
        found, really = marks[:, place], seen[:, place]
        balanced = (found[really].float().mean() + (~found[~really]).float().mean()) / 2
        figures[f"{name}_{mark}"] = balanced.item()
    return figures


@torch.no_grad()
def sample_latents(
    model: WanModel, text: TextEncoder, prompts: list[str], seed: int, steps: int = 20, guidance: float = 4.0
) -> Tensor:
    """Euler steps along the velocity with classifier-free guidance. (B, 16, 5, 8, 8), normalised."""
    noise = torch.randn(len(prompts), 16, 5, 8, 8, generator=torch.Generator().manual_seed(seed))
    wanted, empty = text(prompts), text([""] * len(prompts))

    def velocity(x: Tensor, noise_level: Tensor) -> Tensor:
        plain = model(x, 1000 * noise_level, empty, padding_row=empty.shape[1] - 1)
        guided = model(x, 1000 * noise_level, wanted, padding_row=wanted.shape[1] - 1)
        return plain + guidance * (guided - plain)

    return euler(velocity, noise, steps, FLOW_SHIFT)


@torch.no_grad()
def evaluate_dit(
    model: WanModel, folder: Path, seed: int = 0, num_prompts: int = 128, sheet: Path | None = None
) -> dict[str, float]:
    """How often generated clips show what their prompt asks for, by the clip judge; needs the other parts."""
    vae, text, judge = load_vae(folder), load_text_model(folder), load_clip_judge(folder)
    first = HELD_OUT_FROM + seed * PER_SEED
    scenes = [sample_scene(first + i) for i in range(num_prompts)]
    prompts = [caption(scene, first + i) for i, scene in enumerate(scenes)]
    clips = []
    for start in tqdm(range(0, num_prompts, 8), desc="sampling"):
        latents = sample_latents(model, text, prompts[start : start + 8], first + start)
        clips.append(to_drawings(vae.decode(denormalize_latents(latents))))
    clips = torch.cat(clips)
    if sheet is not None:
        save_sheet(rearrange(clips[:16, ::4], "(rows n) t h w c -> rows (n t) h w c", n=2), sheet)
    predictions = judge(clips)
    return {
        f"dit_{key}": (predictions[key].argmax(1) == torch.tensor([getattr(scene, key) for scene in scenes]))
        .float()
        .mean()
        .item()
        for key in ("action", "background", "clothes")
    }


def evaluate_family(folder: Path, seed: int, sheets: Path) -> dict[str, float]:
    """Figures of every part that is there; the judges' on drawings and, where there is a VAE, on its round trips."""
    figures: dict[str, float] = {}
    vaes: list[WanVAE | None] = [None]
    if has_part("vae", folder):
        vae = load_vae(folder)
        vaes.append(vae)
        figures |= evaluate_vae(vae, seed, sheet=sheets / "vae.png")
    for vae in vaes:
        if has_part("face_judge", folder):
            picture = sheets / f"face_judge_pairs{'_vae' if vae else ''}.png"
            figures |= evaluate_face_judge(load_face_judge(folder), vae, seed, picture=picture)
        if has_part("clip_judge", folder):
            figures |= evaluate_clip_judge(load_clip_judge(folder), vae, seed)
        if has_part("mark_judge", folder):
            figures |= evaluate_mark_judge(load_mark_judge(folder), vae, seed)
    if all(has_part(part, folder) for part in ("vae", "text_encoder", "clip_judge", "dit")):
        figures |= evaluate_dit(load_dit(folder), folder, seed, sheet=sheets / "dit.png")
    if not figures:
        raise SlotIDError(f"There are no trained parts in {folder}. Train them: python -m slotid_core.toy_world all")
    return figures


def plot_pairs(same: Tensor, different: Tensor, threshold: float, path: Path) -> None:
    """Similarities of pairs of clips as two histograms."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 3))
    for values, label in ((different, "two people"), (same, "one person, two scenes")):
        axis.hist(values.numpy(), bins=60, density=True, alpha=0.6, label=label)
    axis.axvline(threshold, color="black", linestyle=":", label="1% false accepts")
    axis.set_xlabel("similarity of two toy-world clips")
    axis.legend()
    figure.tight_layout()
    with whole_file(path) as unfinished:
        figure.savefig(unfinished, dpi=90)
    plt.close(figure)


def save_sheet(frames: Tensor, path: Path, scale: int = 2) -> None:
    """Frames (rows, columns, H, W, 3) in [0, 1] as one PNG."""
    from PIL import Image

    pixels = rearrange((frames * 255).round().to(torch.uint8), "r k h w c -> (r h) (k w) c").numpy()
    with whole_file(path) as unfinished:
        Image.fromarray(np.repeat(np.repeat(pixels, scale, 0), scale, 1)).save(unfinished, optimize=True)
