"""How a trained adapter is used: sampling settings, as in the graph, and degradation of the reference."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..dataset.pixels import Pixels
from ..errors import SlotIDError
from ..wan.guidance import GuidanceOrder

FACE_CLIP = "reference"  # the name under which systems ask for the face clip's latents


@dataclass(frozen=True)
class Reference:
    """How the reference is changed before the VAE encodes it, or after.

    Attributes:
        frames: how many frames of the face clip are kept, from the first; 0 keeps all.
        shuffled: the face clip's frames in a random order. The VAE is causal, so this also spoils how they look.
        latents_shuffled: its latent frames in a random order, which leaves each of them as the VAE made it.
        clip_of_a_stranger: the face clip is another person's; the portrait stays.
        blur: standard deviation of a Gaussian, in pixels of the face clip; the portrait is blurred as well.
        noise: standard deviation of added noise, where white is 1; the portrait gets it as well.
        as_user: face clip and portrait are made as the nodes make them from a user's clip. Otherwise the drawing itself
            says where the face is, and the portrait is drawn for it.
    """

    frames: int = 0
    shuffled: bool = False
    latents_shuffled: bool = False
    clip_of_a_stranger: bool = False
    blur: float = 0.0
    noise: float = 0.0
    as_user: bool = False

    def __post_init__(self):
        if self.frames and self.frames % 4 != 1:
            raise SlotIDError(f"A reference has 4n + 1 frames, as the VAE takes them; got {self.frames}.")

    def of_pixels(self, pixels: Pixels, seed: int) -> Pixels:
        """The reference's pictures, changed; the video stays."""
        return replace(
            pixels,
            reference=self.of_clip(pixels.reference, seed),
            portrait=self.of_portrait(pixels.portrait, seed),
            face_picture=self.of_portrait(pixels.face_picture, seed),
        )

    def of_clip(self, frames: Tensor, seed: int) -> Tensor:
        """Face clip (T, H, W, 3) in [0, 1], shortened, shuffled and degraded -> (T', H, W, 3)."""
        if self.frames:
            frames = frames[: self.frames]
        if self.shuffled:
            frames = frames[random_order(len(frames), seed)]
        return self.of_portrait(frames, seed)

    def of_tensors(self, tensors: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
        """Tensors by name, as `dataset.tensors` makes them; of the face clip's latents (16, T', h, w), the order."""
        if not self.latents_shuffled or FACE_CLIP not in tensors:
            return tensors
        latents = tensors[FACE_CLIP]
        return tensors | {FACE_CLIP: latents[:, random_order(latents.shape[1], seed)]}

    def of_portrait(self, frames: Tensor, seed: int) -> Tensor:
        """Frames (T, H, W, 3) in [0, 1], blurred and with noise, same shape."""
        if self.blur:
            from skimage.filters import gaussian  # takes a second to import

            deviations = (0, self.blur, self.blur, 0)
            # scikit-image takes a number for each axis, as documented; the type is inferred from the default, 1.
            blurred = gaussian(frames.numpy(), deviations, mode="nearest")  # pyright: ignore[reportArgumentType]
            frames = torch.from_numpy(blurred)
        if self.noise:
            generator = torch.Generator().manual_seed(seed)
            frames = frames + self.noise * torch.randn(frames.shape, generator=generator)
        return frames.clamp(0, 1)


def random_order(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Usage:
    """Sampling steps and scales, in which order these are applied, and when the identity acts.

    `start` and `end` are parts of sampling, 0 to 1, as in the node Apply Identity. `begin` is the noise level at which
    sampling begins: below 1, with the person really drawn in the scene and noise of that level.
    """

    steps: int = 20
    text_scale: float = 2.5
    identity_scale: float = 2.5
    start: float = 0.0
    end: float = 1.0
    reference: Reference = field(default_factory=Reference)
    order: GuidanceOrder = "text first"
    begin: float = 1.0
