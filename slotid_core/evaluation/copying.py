"""How much of a reference picture's own layout returns in a clip.

A copied picture looks like the picture, and so does the person drawn anew. Likeness is the same in other pictures of
the person; layout is not. So what counts is how much better a clip's frames match the very picture that was shown than
other pictures of the same person. The scale runs from the person drawn in the scene without any picture, 0, to the
picture itself for every frame, 1.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..dataset.augmentation import AugmentationSettings, augmentations
from ..dataset.tensors import PICTURES
from ..systems.registry import inference_of
from ..toy_world.render import render_clips
from .estimators import ratio
from .studio import Studio
from .subjects import Subject
from .variants import Row

LARGEST_SHIFT = 4  # pixels to each side by which a picture is moved to fit a frame
FRAMES = 5  # of a clip, evenly
OTHERS = 4  # pictures of the same person
AS_IT_IS = AugmentationSettings(count=1, colour=0.0, flip=0.0, pose=0.0, layout=0.0, background=0.0)
LAID_OUT_ANEW = AugmentationSettings(count=OTHERS, colour=0.0, flip=0.5, pose=1.0, layout=1.0, background=0.0)


class Copying:
    """Measures the clips of systems to which a picture of the person is shown."""

    def __init__(self, studio: Studio, subjects: list[Subject]):
        self.studio, self.subjects = studio, subjects
        # All rows are measured against the same: by place of the subject, name of the tensor and size.
        self.pictures = lru_cache(maxsize=None)(self._pictures)
        self.marks = lru_cache(maxsize=None)(self._marks)

    def measure(self, row: Row, clips: Tensor) -> dict[str, np.ndarray]:
        """Clips (people, prompts, T, H, W, 3) -> "copying" (people, prompts, 3), for the estimator `copied`.

        Empty for rows of no system, and for systems that read no picture.
        """
        shown = shown_picture(row.system)
        if not shown:
            return {}
        size = (clips.shape[3], clips.shape[4])
        values = [
            [(self.excess(place, shown, size, clip), *self.marks(place, shown, size, scene))
             for scene, clip in enumerate(of_person)]
            for place, of_person in enumerate(clips)
        ]  # fmt: skip
        return {"copying": np.array(values)}

    def excess(self, place: int, shown: str, size: tuple[int, int], clip: Tensor) -> float:
        """How much better frames (T, H, W, 3) match the picture than other pictures of the person."""
        own, others = self.pictures(place, shown, size)
        frames = clip[torch.linspace(0, len(clip) - 1, min(FRAMES, len(clip))).round().long()]
        matches = best_match(frames, torch.cat([own, others]))  # (frames, pictures)
        return float((matches[:, 0] - matches[:, 1:].mean(1)).mean())

    def _marks(self, place: int, shown: str, size: tuple[int, int], scene: int) -> tuple[float, float]:
        """The excess of the person drawn in the scene, and that of the picture itself."""
        subject = self.subjects[place]
        (drawn,) = render_clips([subject.person], [subject.scenes[scene]])
        own, _ = self.pictures(place, shown, size)
        return self.excess(place, shown, size, drawn), self.excess(place, shown, size, own)

    def _pictures(self, place: int, shown: str, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The picture that is shown (1, H, W, 3), and others of the person (K, H, W, 3), laid out in other ways."""
        drawn = (self.studio.pictures(self.subjects[place], number) for number in (0, 1))
        picture, other = (PICTURES[shown](pixels) for pixels in drawn)
        (own,) = augmentations(picture, *size, AS_IT_IS)
        return own, torch.cat(augmentations(other, *size, LAID_OUT_ANEW))


def shown_picture(system: str) -> str:
    """Name of the first tensor read by a system that is a picture of the person; "" if there is none."""
    names = inference_of(system).required_tensors if system else ()
    return next((name for name in names if name in PICTURES), "")


def best_match(frames: Tensor, pictures: Tensor) -> Tensor:
    """(F, H, W, 3) and (P, H, W, 3) -> (F, P): the correlation of each frame with each picture, moved so that it fits
    best, by at most `LARGEST_SHIFT` pixels."""
    edge, (height, width) = LARGEST_SHIFT, frames.shape[1:3]
    middle = frames[:, edge : height - edge, edge : width - edge]
    moved = torch.stack([
        pictures[:, y : y + height - 2 * edge, x : x + width - 2 * edge]
        for y in range(2 * edge + 1) for x in range(2 * edge + 1)
    ])  # fmt: skip
    return torch.einsum("fn,spn->sfp", _standard(middle), _standard(moved)).amax(0)


def _standard(pictures: Tensor) -> Tensor:
    """(..., H, W, 3) -> (..., n) of length 1, each colour without its mean, so that a colour cast is no match."""
    centred = (pictures - pictures.mean((-3, -2), keepdim=True)).flatten(-3)
    return centred / centred.norm(dim=-1, keepdim=True).clamp(min=1e-6)


def copied(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """An estimator: where the mean excess of clips lies between that of drawn scenes, 0, and of the picture, 1.

    Values (people, prompts, 3) are the three excesses.
    """
    clip, drawn, picture = np.moveaxis(values.sum(1), -1, 0)
    return ratio(counts @ (clip - drawn), counts @ (picture - drawn))
