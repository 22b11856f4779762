"""Who is who on held-out people: a portrait against a clip, and two clips, by the face recogniser or by the judge."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ..reference.faces.face_encoder import FaceEncoder
from ..wan.vae import WanVAE
from .evaluate import held_out, through_vae
from .face_pictures import crops_of_face_pictures, crops_of_frames
from .family import has_part, load_face_judge, load_face_recogniser, load_vae
from .judges import FaceJudge
from .motion import move
from .person import Person
from .render import FRAME_SIZE, head_boxes, portrait_motion, render_clips, render_portrait
from .scene import Scene

EVERY = 4  # frame of a clip is looked at, as by the judge
PEOPLE = 64
# Portraits (N, H, H, 3), or clips (N, T, H, H, 3) with who does what in them -> (N, D) unit vectors.
OfPortraits = Callable[[Tensor], Tensor]
OfClips = Callable[[Tensor, list[Person], list[Scene]], Tensor]


@torch.no_grad()
def evaluate_faces(
    network: FaceEncoder | FaceJudge, vae: WanVAE | None, seed: int = 0, num_people: int = PEOPLE
) -> dict[str, float]:
    """Clips of 17 frames, through the VAE if one is given.

    Returns:
        `auc`, how often two clips of one person are more alike than clips of two; `rank1`, how often a portrait is
        most like the clip of its own person; `same` and `different`, mean cosines of a portrait and a clip.
    """
    of_portraits, of_clips = ways_of(network)
    people, _ = held_out(seed, num_people)
    clips = []
    for side in (0, 1):
        _, scenes = held_out(seed, num_people, offset=num_people * (1 + side))
        parts = []
        for start in tqdm(range(0, num_people, 4), desc="faces"):
            who, where = people[start : start + 4], scenes[start : start + 4]
            parts.append(of_clips(through_vae(render_clips(who, where), vae), who, where))
        clips.append(torch.cat(parts))
    portraits = of_portraits(torch.stack([render_portrait(person) for person in people]))
    own = torch.eye(num_people, dtype=torch.bool)
    pairs, cosine = clips[0] @ clips[1].T, portraits @ clips[0].T
    name = f"face_{'judge_beside' if isinstance(network, FaceJudge) else 'recogniser'}{'_vae' if vae else ''}"
    return {
        f"{name}_auc": (pairs[own][:, None] > pairs[~own][None]).float().mean().item(),
        f"{name}_rank1": (cosine.argmax(1) == torch.arange(num_people)).float().mean().item(),
        f"{name}_same": cosine[own].mean().item(),
        f"{name}_different": cosine[~own].mean().item(),
    }


def evaluate_shipped_faces(folder: Path, seed: int = 0) -> dict[str, float]:
    """Figures of the recogniser, and of the judge beside it, as far as they are there."""
    figures: dict[str, float] = {}
    loaders = {"face_recogniser": load_face_recogniser, "face_judge": load_face_judge}
    for vae in (None, *((load_vae(folder),) if has_part("vae", folder) else ())):
        for part, load in loaders.items():
            if has_part(part, folder) and has_part("face_recogniser", folder):
                figures |= evaluate_faces(load(folder), vae, seed)
    return figures


def ways_of(network: FaceEncoder | FaceJudge) -> tuple[OfPortraits, OfClips]:
    """How a network looks at portraits and at clips: the judge at whole frames, the recogniser at faces."""
    if isinstance(network, FaceJudge):
        return lambda pictures: network.embed_clips(pictures[:, None]), lambda clips, *_: network.embed_clips(clips)

    def of_portraits(pictures: Tensor) -> Tensor:
        boxes = np.repeat(head_boxes(*portrait_motion()), len(pictures), axis=0)
        return network(crops_of_face_pictures(pictures, boxes, FRAME_SIZE))

    def of_clips(clips: Tensor, people: list[Person], scenes: list[Scene]) -> Tensor:
        found = []
        for clip, person, scene in zip(clips, people, scenes, strict=True):
            boxes = head_boxes(scene, move(person, scene, len(clip)))[::EVERY]
            found.append(F.normalize(network(crops_of_frames(clip[::EVERY], boxes)).mean(0), dim=0))
        return torch.stack(found)

    return of_portraits, of_clips
