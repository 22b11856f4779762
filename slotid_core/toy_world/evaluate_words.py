"""What words for looks bring: clips of full descriptions of held-out people against clips of plain captions."""

from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ..wan import WanModel
from ..wan.vae import denormalize_latents
from .captions import caption, full_description
from .evaluate import PER_SEED, held_out, sample_latents, through_vae, to_drawings
from .family import load_clip_judge, load_face_judge, load_text_model, load_vae
from .person import HELD_OUT_FROM
from .render import render_clips

SAMPLED_AT_ONCE = 8


@torch.no_grad()
def evaluate_words(model: WanModel, folder: Path, seed: int = 0, num_people: int = 64) -> dict[str, float]:
    """Similarity to the right person in a gallery of all, who comes first in it, and accuracy of the scene.

    Returns:
        `words_<row>_<figure>` for the rows `plain` (caption alone) and `described`, both from the same noise, and
        `words_ground_truth_similarity`, that of drawings of the same scenes through the VAE.
    """
    vae, text = load_vae(folder), load_text_model(folder)
    faces, judge = load_face_judge(folder), load_clip_judge(folder)
    people, scenes = held_out(seed, num_people)
    _, others = held_out(seed, num_people, offset=PER_SEED // 4)  # scenes of the gallery
    first = HELD_OUT_FROM + seed * PER_SEED
    said = list(zip(people, scenes, range(first, first + num_people), strict=True))
    prompts = {
        "plain": [caption(scene, number) for _, scene, number in said],
        "described": [full_description(*one) for one in said],
    }
    gallery = faces.embed_clips(through_vae(render_clips(people, others), vae))  # (people, width)
    drawn = faces.embed_clips(through_vae(render_clips(people, scenes), vae))
    figures = {"words_ground_truth_similarity": (drawn * gallery).sum(1).mean().item()}
    for row, texts in prompts.items():
        parts = []
        for start in tqdm(range(0, num_people, SAMPLED_AT_ONCE), desc=row):
            latents = sample_latents(model, text, texts[start : start + SAMPLED_AT_ONCE], first + start)
            parts.append(to_drawings(vae.decode(denormalize_latents(latents))))
        clips = torch.cat(parts)
        similarity = faces.embed_clips(clips) @ gallery.T
        figures[f"words_{row}_similarity"] = similarity.diagonal().mean().item()
        figures[f"words_{row}_rank1"] = share(similarity.argmax(1), torch.arange(num_people))
        told = judge(clips)
        for name in ("action", "background", "clothes"):
            wanted = torch.tensor([getattr(scene, name) for scene in scenes])
            figures[f"words_{row}_{name}"] = share(told[name].argmax(1), wanted)
    return figures


def share(given: Tensor, wanted: Tensor) -> float:
    """How often two rows of indices (N,) agree."""
    return (given == wanted).float().mean().item()
