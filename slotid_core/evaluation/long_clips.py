"""Draws videos longer than the model was trained for, in the two ways that users have.

By context windows, all frames are sampled at once, and each prediction is blended of windows that the model can see. By
chained extension, pieces are sampled one after the other, and each goes on from the last frames of the one before,
decoded and encoded again. A refiner changes the latents before they are decoded: all of them, or each piece's.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from ..errors import SlotIDError
from ..precision import fast_autocast
from ..ranges import Range, check_ranges
from ..systems.contract import Refiner
from ..toy_world.evaluate import to_drawings, to_pixels
from ..toy_world.family import FLOW_SHIFT
from ..wan.guidance import Predict, sample_guided
from ..wan.sampling import shifted
from ..wan.text_encoder import pad_text
from ..wan.vae import denormalize_latents, normalize_latents
from .studio import TEXT_ROOM, Studio
from .usage import Usage

Way = Literal["windows", "chained"]
WAYS: tuple[Way, ...] = ("windows", "chained")
LATENT_SIDE = 8
NEXT_SEED = 1_000_000  # from the noise of a piece to that of the next


@dataclass(frozen=True)
class Length:
    """Latent frames of a video, of a window or piece, and of what neighbours share.

    After the first, a latent frame stands for four frames of the video.
    """

    frames: Annotated[int, Range(2, 4096)] = 81
    window: Annotated[int, Range(2, 64)] = 5
    overlap: Annotated[int, Range(1, 63)] = 2

    def __post_init__(self):
        check_ranges(self)
        if not self.overlap < self.window <= self.frames:
            raise SlotIDError(
                f"A video of {self.frames} latent frames in windows of {self.window} that share {self.overlap} cannot "
                "be: overlap must be below window, and window at most frames."
            )

    def starts(self) -> list[int]:
        """The first latent frame of each window; the last window ends with the video."""
        last, step = self.frames - self.window, self.window - self.overlap
        return sorted({*range(0, last, step), last})


class LongStudio(Studio):
    """A studio whose clips are long; `way` and `refiner` may be changed between rows."""

    way: Way = "windows"
    refiner: Refiner | None = None
    length = Length()

    @torch.no_grad()
    def sample(self, predict: Predict, has_person: bool, jobs: list, seeds: list[int], usage: Usage) -> Tensor:
        """Drawings (B, 4 frames - 3, H, W, 3)."""
        text = pad_text([self.encoders.text_rows(subject.prompts[place]).float() for subject, place in jobs], TEXT_ROOM)
        start, end = (shifted(1 - part, FLOW_SHIFT) for part in (usage.start, usage.end))

        def latents_by(prediction: Predict, noise: Tensor) -> Tensor:
            latents = sample_guided(
                prediction, noise, text, self.encoders.text_rows("").float(), has_person, usage.steps, FLOW_SHIFT,
                usage.text_scale, usage.identity_scale, usage.order, active=(start, end),
            )  # fmt: skip
            return latents if self.refiner is None else self.refiner.refine(latents)

        with fast_autocast("cpu", self.compute_dtype == "bfloat16"):
            if self.way == "windows":
                latents = latents_by(windowed(predict, self.length), noise_of(seeds, self.length.frames))
                return self.decoded(latents)
            return self.chained(predict, latents_by, seeds)

    def chained(self, predict: Predict, latents_by, seeds: list[int]) -> Tensor:
        length = self.length
        shared = 4 * length.overlap - 3  # frames of the video that a piece goes on from
        clip = self.decoded(latents_by(predict, noise_of(seeds, length.window)))
        while clip.shape[1] < 4 * length.frames - 3:
            seeds = [seed + NEXT_SEED for seed in seeds]
            noise = noise_of(seeds, length.window)
            known = normalize_latents(self.vae.encode(to_pixels(clip[:, -shared:])).float())
            piece = self.decoded(latents_by(held(predict, known, noise), noise))
            clip = torch.cat([clip, piece[:, shared:]], dim=1)
        return clip[:, : 4 * length.frames - 3]

    def decoded(self, latents: Tensor) -> Tensor:
        parts = denormalize_latents(latents).split(1)  # long ones, so one at a time
        return torch.cat([to_drawings(self.vae.decode(part)).float() for part in parts])


def noise_of(seeds: list[int], frames: int) -> Tensor:
    """(B, 16, frames, 8, 8)."""
    shape = (16, frames, LATENT_SIDE, LATENT_SIDE)
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def windowed(predict: Predict, length: Length) -> Predict:
    """The prediction for all frames, blended of windows; a window counts less towards its ends."""
    place = torch.arange(length.window) + 1.0
    weight = torch.minimum(place, place.flip(0)).view(1, 1, -1, 1, 1)

    def blended(noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor | None) -> Tensor:
        total = torch.zeros_like(noisy, dtype=torch.float32)
        weights = torch.zeros(1, 1, noisy.shape[2], 1, 1)
        for start in length.starts():
            window = slice(start, start + length.window)
            total[:, :, window] += weight * predict(noisy[:, :, window], noise_level, context, strength).float()
            weights[:, :, window] += weight
        return total / weights

    return blended


def held(predict: Predict, known: Tensor, noise: Tensor) -> Predict:
    """The prediction that leads the first frames from their noise to `known` (B, 16, overlap, 8, 8), step by step."""
    count = known.shape[2]

    def holding(noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor | None) -> Tensor:
        velocity = predict(noisy, noise_level, context, strength).float()
        return torch.cat([noise[:, :, :count] - known, velocity[:, :, count:]], dim=2)

    return holding
