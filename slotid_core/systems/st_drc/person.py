"""A person as ST-DRC knows them: pictures as the VAE encodes them, in one small file for any model and adapter."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...config import known_settings, shown
from ...errors import SlotIDError
from ...weights import check_finite, load_weights, naming, save_weights
from .injection import VIDEO_CHANNELS

KIND = "st_drc_person"
VERSION = 1
MOST_PICTURES = 16
LONGEST_SIDE = 1024  # of latents: 8192 pixels
PIXELS_PER_LATENT = 8


@dataclass(frozen=True)
class PersonHeader:
    """What a person's file says beside its tensor; see `Person`."""

    source: dict


@dataclass(frozen=True)
class Person:
    """Pictures of one person, all of one size.

    Attributes:
        latents: (1, 16, R, H, W) normalised latents of R pictures, each encoded by itself.
        source: facts about the pictures, for people; JSON-ready.
    """

    latents: Tensor
    source: dict = field(default_factory=dict)

    def __post_init__(self):
        shape = tuple(self.latents.shape)
        fits = len(shape) == 5 and shape[:2] == (1, VIDEO_CHANNELS) and self.latents.is_floating_point()
        if not fits or not 1 <= shape[2] <= MOST_PICTURES or not all(1 <= side <= LONGEST_SIDE for side in shape[3:]):
            raise SlotIDError(
                f"A person's pictures are numbers of shape (1, {VIDEO_CHANNELS}, pictures, height, width), at most "
                f"{MOST_PICTURES} pictures and {LONGEST_SIDE} a side; got {shape} of {self.latents.dtype}."
            )

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height of the pictures."""
        height, width = self.latents.shape[3:]
        return width * PIXELS_PER_LATENT, height * PIXELS_PER_LATENT

    def with_others(self, others: Sequence["Person"]) -> "Person":
        """One person of the pictures of several, in order.

        Raises:
            SlotIDError: the pictures are of different sizes, or too many.
        """
        sizes = {f"{person.pixels[0]}x{person.pixels[1]}" for person in (self, *others)}
        if len(sizes) > 1:
            raise SlotIDError(
                f"Pictures of one person must have one size; these have {', '.join(sorted(sizes))}. Encode all of them "
                "at the size of the video."
            )
        latents = torch.cat([person.latents for person in (self, *others)], dim=2)
        return Person(latents, {"pictures": [person.source for person in (self, *others)]})

    def save(self, path: str | os.PathLike) -> None:
        check_finite({"latents": self.latents})
        save_weights(path, {"latents": self.latents}, {"kind": KIND, "version": VERSION, "source": self.source})

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Person":
        tensors, header = load_weights(path, KIND, VERSION)
        with naming(path):
            if set(tensors) != {"latents"}:
                raise SlotIDError(f"It lacks the tensor of a person's pictures; it has {shown(sorted(tensors))}.")
            return cls(tensors["latents"], known_settings(PersonHeader, header).source)
