"""The face-guided identity objective: the face in the clean clip that a prediction stands for is the person's.

1 - cosine between a face network's embedding of the decoded estimate and the person's. The estimate is clear enough to
know somebody by at low noise alone. The face network and the VAE are frozen, are no part of the strategy's modules, and
are read from their files at the first step.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...errors import SlotIDError
from ...model_files import model_file
from ...reference.faces.alignment import crops_at
from ...reference.faces.face_encoder import FaceEncoder, load_face_encoder
from ...wan.vae import WanVAE, WanVAEConfig, denormalize_latents
from ...weights import naming, read_shapes, read_tensors
from ..contract import Batch

EMBEDDING, PLACES, CHOICE = "face_embedding", "face_places", "face_choice"
# Numbers that the decoder keeps for its backward pass, for each pixel it gives and each channel of its last level:
# norms, activations and convolutions of three blocks there, and those of the coarser levels.
KEPT_OF_A_PIXEL = 36
FRAMES_OF_A_PAIR = 5  # that two latent frames decode to


@dataclass(frozen=True)
class FaceSettings:
    """See `strategy.ObjectiveSettings`, whose names these are without `face_`."""

    weight: float
    below: float
    frames: int
    encoder: str
    vae: str


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

    def __init__(self, settings: FaceSettings, data: Mapping, recompute: bool):
        self.settings, self.recompute = settings, recompute
        if data and not data.get("face_encoder"):
            raise SlotIDError(
                "objective.own.face_weight is above 0, and the data was prepared without face_encoder, so that it has "
                "no face embeddings. Prepare it with face_encoder set, or set face_weight to 0."
            )
        self.vae_file = settings.vae or data.get("vae", "")
        self.encoder_file = settings.encoder or data.get("face_encoder", "")
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
        return self.settings.weight * loss

    def seen(self, batch: Batch) -> list[tuple[int, int]]:
        """(row, latent frame) of the faces to look at."""
        count = batch.video.shape[2]
        told = ((batch.noise_level < self.settings.below) & (batch.has_identity > 0)).tolist()
        is_there = batch.conditions[PLACES].isfinite().all(-1).all(-1).tolist()  # (B, T)
        draws = batch.conditions[CHOICE][:, : min(self.settings.frames, count)]
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
        pairs = 1 if self.recompute else samples * self.settings.frames
        return float(KEPT_OF_A_PIXEL * channels * size * pairs * FRAMES_OF_A_PAIR * 64 * height * width)


def embedded(networks: Networks, latents: Tensor, places: Tensor) -> Tensor:
    """Embeddings (N, D) of the faces in the last video frames of normalised latents (N, 16, 1 or 2, h, w).

    The latent frame before the last is there because the decoder looks back; what is before that changes little.
    """
    pixels = networks.vae.decode(denormalize_latents(latents))[:, :, -1].float()
    return networks.encoder(crops_at((pixels * 0.5 + 0.5).clamp(0, 1), places.float()))
