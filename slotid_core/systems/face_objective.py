"""The face-guided identity objective (ST-DRC), for every system: the face in the clean clip that a prediction stands
for is the person's.

1 - cosine between a face network's embedding of the decoded estimate and the person's. The estimate is clear enough to
know somebody by at low noise alone. The face network and the VAE are frozen, are no part of the strategy's modules, and
are read from their files at the first step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..errors import SlotIDError
from ..model_files import model_file
from ..ranges import Range, Share, check_ranges
from ..reference.faces.alignment import crops_at
from ..reference.faces.face_encoder import FaceEncoder, load_face_encoder
from ..wan import WanModel
from ..wan.vae import WanVAE, WanVAEConfig, denormalize_latents
from ..weights import naming, read_shapes, read_tensors
from .contract import AnyBatch, Batch, StrategySettings

EMBEDDING, PLACES, CHOICE = "face_embedding", "face_places", "face_choice"
# Numbers that the decoder keeps for its backward pass, for each pixel it gives and each channel of its last level:
# norms, activations and convolutions of three blocks there, and those of the coarser levels.
KEPT_OF_A_PIXEL = 36
FRAMES_OF_A_PAIR = 5  # that two latent frames decode to


@dataclass(frozen=True)
class FaceGuided:
    """Settings of the objective, which the `ObjectiveSettings` of every system begin with.

    Attributes:
        face_weight: of 1 - cosine between the face in the decoded estimate and the person's; 0 for none, as it takes
            the VAE's decoder and its gradients. Needs data that was prepared with `face_encoder`.
        face_below: noise level below which a sample is looked at.
        face_frames: latent frames of such a sample that are.
        face_encoder, face_vae: files of the face network, which must be the one of the data's embeddings, and of the
            VAE, or "toy_world"; default: those that the data was made with.
    """

    face_weight: Annotated[float, Range(0, 1e4)] = 0.0
    face_below: Share = 0.4
    face_frames: Annotated[int, Range(1, 64)] = 2
    face_encoder: str = ""
    face_vae: str = ""

    __post_init__ = check_ranges


@dataclass(frozen=True)
class Networks:
    vae: WanVAE
    encoder: FaceEncoder


class FaceObjective:
    """
    Args:
        data: settings that the data was prepared with; they name the files that the settings leave out.
        recompute: decode again in the backward pass, one frame at a time, instead of keeping what it needs.
    """

    def __init__(self, settings: FaceGuided, data: Mapping, recompute: bool):
        self.settings, self.recompute = settings, recompute
        if data and not data.get("face_encoder"):
            raise SlotIDError(
                "objective.own.face_weight is above 0, and the data was prepared without face_encoder, so that it has "
                "no face embeddings. Prepare it with face_encoder set, or set face_weight to 0."
            )
        self.vae_file = settings.face_vae or data.get("vae", "")
        self.encoder_file = settings.face_encoder or data.get("face_encoder", "")
        self._networks: Networks | None = None

    def networks(self, device: torch.device) -> Networks:
        """The frozen networks, read at the first call.

        Raises:
            SlotIDError: there is no such file, or it is of something else.
        """
        if self._networks is None:
            file = model_file(self.vae_file, "vae")
            with naming(file):
                vae = WanVAE.from_state_dict(read_tensors(file)[0])
            encoder = load_face_encoder(model_file(self.encoder_file, "face_recogniser"))
            self._networks = Networks(vae.to(device), encoder.to(device))
        return self._networks

    def __call__(self, batch: Batch, noisy: Tensor, velocity: Tensor) -> Tensor:
        """Weighted loss of each sample (B,); 0, and nothing decoded, for those that show no face to compare.

        Args:
            noisy, velocity: (B, 16, T, H, W), what was predicted from, and the prediction.
        """
        networks = self.networks(velocity.device)
        loss = velocity.new_zeros(len(velocity), dtype=torch.float32)
        seen = self.seen(batch)
        if not seen:
            return loss
        clean = noisy.float() - batch.noise_level.view(-1, 1, 1, 1, 1) * velocity.float()
        counts = torch.tensor([row for row, _ in seen]).bincount(minlength=len(velocity)).tolist()
        for is_first in (True, False):  # the first latent frame is one of the video, any other is four
            places = [place for place in seen if (place[1] == 0) == is_first]
            for part in [[place] for place in places] if self.recompute else [places] if places else []:
                rows, frames = [row for row, _ in part], [frame for _, frame in part]
                latents = torch.stack([clean[row, :, max(0, frame - 1) : frame + 1] for row, frame in part])
                where = batch.conditions[PLACES][rows, frames]
                if self.recompute:
                    embedding = checkpoint(embedded, networks, latents, where, use_reentrant=False)
                else:
                    embedding = embedded(networks, latents, where)
                assert isinstance(embedding, Tensor)  # `checkpoint` does not say what it gives
                far = 1 - F.cosine_similarity(embedding.float(), batch.conditions[EMBEDDING][rows].float())
                share = torch.tensor([1 / counts[row] for row in rows], device=far.device)
                loss = loss.index_add(0, torch.tensor(rows, device=far.device), far * share)
        return self.settings.face_weight * loss

    def seen(self, batch: Batch) -> list[tuple[int, int]]:
        """(row, latent frame) of the faces to look at."""
        count = batch.video.shape[2]
        told = ((batch.noise_level < self.settings.face_below) & (batch.has_identity > 0)).tolist()
        is_there = batch.conditions[PLACES].isfinite().all(-1).all(-1).tolist()  # (B, T)
        draws = batch.conditions[CHOICE][:, : min(self.settings.face_frames, count)]
        # Each from its own stretch of the clip, so that none is drawn twice.
        stretches = torch.arange(draws.shape[1], device=draws.device)
        frames = ((stretches + draws) * count / draws.shape[1]).long().clamp(max=count - 1).tolist()
        return [
            (row, frame) for row, of_row in enumerate(frames) if told[row] for frame in of_row if is_there[row][frame]
        ]

    def held_bytes(self, height: int, width: int, samples: int, size: int) -> float:
        """What the decoder holds for the backward pass, by estimate, where every sample is looked at.

        Args:
            height, width: of latents.
            size: bytes of a number.
        """
        try:
            file = model_file(self.vae_file, "vae")
            channels = WanVAEConfig.from_state_dict(read_shapes(file)).width
        except SlotIDError:  # not on this machine: the published one
            channels = WanVAEConfig().width
        pairs = 1 if self.recompute else samples * self.settings.face_frames
        return float(KEPT_OF_A_PIXEL * channels * size * pairs * FRAMES_OF_A_PAIR * 64 * height * width)


class GuidedByFaces:
    """What a strategy has of the objective; its `__init__` calls `look_at_faces`."""

    faces: FaceObjective | None = None
    required_tensors: tuple[str, ...] = ()
    target_tensors: tuple[str, ...] = ()
    face_tensors: tuple[str, ...] = (EMBEDDING, PLACES)
    frame_axes: ClassVar[Mapping[str, int]] = {PLACES: 0}

    def look_at_faces(self, settings: StrategySettings, backbone: WanModel) -> None:
        """Read what the objective needs of the data, where its weight is above 0."""
        own = settings.own_objective
        assert isinstance(own, FaceGuided)
        if own.face_weight:
            self.faces = FaceObjective(own, settings.data, backbone.activation_checkpointing)
            self.required_tensors = tuple(dict.fromkeys((*self.required_tensors, EMBEDDING)))
            self.target_tensors = (*self.target_tensors, PLACES)

    def drawn_faces(self, generator: torch.Generator) -> dict[str, Tensor]:
        """A number in [0, 1) for each frame in which the face is looked at."""
        return {} if self.faces is None else {CHOICE: torch.rand(self.faces.settings.face_frames, generator=generator)}

    def face_losses(self, batch: AnyBatch, velocities: Sequence[Tensor]) -> Tensor | float:
        """Weighted loss of each sample (B,) of what was predicted of each of `batch.parts`."""
        if self.faces is None:
            return 0.0
        seen = zip(batch.parts, velocities, strict=True)
        return torch.cat([self.faces(part, part.noisy, velocity) for part, velocity in seen])

    def held_bytes(self, height: int, width: int, samples: int, size: int) -> float:
        return 0.0 if self.faces is None else self.faces.held_bytes(height, width, samples, size)


def embedded(networks: Networks, latents: Tensor, places: Tensor) -> Tensor:
    """Embeddings (N, D) of the faces in the last video frames of normalised latents (N, 16, 1 or 2, h, w).

    The latent frame before the last is there because the decoder looks back; what is before that changes little.
    """
    pixels = networks.vae.decode(denormalize_latents(latents))[:, :, -1].float()
    return networks.encoder(crops_at((pixels * 0.5 + 0.5).clamp(0, 1), places.float()))
