"""How the temporal module is trained: clean estimates of the frozen video model in, the ground truth as the target.

c_k must not be the ground truth, for which the best bias is zero. Each training clip gets noise of a level below one
half or so, and what the frozen model makes of it is refined. The module is trained by itself, by the loop of all
systems; it reads no reference.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from ....config import config_from_dict
from ....errors import SlotIDError
from ....ranges import Range, Share, check_ranges
from ....wan import WanModel
from ....wan.guidance import Predict
from ....weights import with_prefix
from ...contract import Batch, StrategySettings
from .chunks import chunk_length
from .config import CHANNELS, TemporalConfig
from .file import load_temporal, save_temporal
from .module import TemporalModule
from .sharpness import sharpness

CHOICE, DRIFT = "taught_choice", "drift"
PIXELS_TO_LATENTS = 4  # frames of a video to one of latents, after the first


@dataclass(frozen=True)
class ObjectiveSettings:
    """The module's own part of the objective.

    Attributes:
        least_noise, most_noise: between which levels the noise of a clip lies that the frozen model is shown.
        estimate_steps: of sampling from that level on, one pass of the frozen model each. 1 takes its clean estimate,
            which is blurred; more are closer to what a sampler leaves, and cost as many passes.
        taught: share of clips in which the chunk before is the ground truth's (teacher forcing); in the others it is
            the module's own, as in use.
        drift: standard deviation, in the last frame, of an offset of each channel that is added to the estimate and
            grows from none in the first frame. Estimates of short clips do not drift, so that without this nothing
            teaches the module to hold what the frames before show; 0 adds none.
    """

    least_noise: Share = 0.1
    most_noise: Share = 0.5
    estimate_steps: Annotated[int, Range(1, 50)] = 1
    taught: Share = 0.5
    drift: Annotated[float, Range(0, 10)] = 0.0

    def __post_init__(self):
        check_ranges(self)
        if not 0 < self.least_noise <= self.most_noise:
            raise SlotIDError(
                f"objective.own: least_noise is {self.least_noise} and most_noise {self.most_noise}; the first must be "
                "above 0 and at most the second."
            )


class Strategy(nn.Module):
    """The frozen video model and the module; see `contract.Strategy`."""

    required_tensors: tuple[str, ...] = ()
    target_tensors: tuple[str, ...] = ()
    shown_tensor = ""
    parameter_groups = ("temporal",)
    text_rows = 0

    def __init__(self, settings: StrategySettings, backbone: WanModel):
        super().__init__()
        assert isinstance(settings.own_objective, ObjectiveSettings)  # the registry pairs both classes of a module
        if settings.objective.described_weight:
            raise SlotIDError(
                "objective.described_weight is for systems that read a reference; the temporal module reads none. "
                "Leave it out."
            )
        self.objective, self.shared = settings.own_objective, settings.objective
        self.model = backbone.requires_grad_(False)
        config = config_from_dict(TemporalConfig, settings.adapter)
        self.temporal = TemporalModule(config)
        self.temporal.activation_checkpointing = backbone.activation_checkpointing
        self.figures: dict[str, Tensor] = {}
        if settings.start_from:
            self.start_from(settings.start_from, config)

    def start_from(self, path: str, config: TemporalConfig) -> None:
        """The weights of a module in place of fresh ones.

        Raises:
            SlotIDError: it is no temporal module, or one of other sizes.
        """
        first = load_temporal(path)
        sizes = ("width", "heads", "layers", "rotary")
        other = [name for name in sizes if getattr(first.config, name) != getattr(config, name)]
        if other:
            raise SlotIDError(
                f"run.start_from is {path}, a module with {other[0]} {getattr(first.config, other[0])!r}; adapter says "
                f"{getattr(config, other[0])!r}. Take over its settings, or leave run.start_from out."
            )
        self.temporal.load_state_dict(first.state_dict())

    @staticmethod
    def settings_for_data(adapter: dict, data: Mapping, folder: os.PathLike) -> dict:
        """Adapter settings with the length of a chunk, so that longer videos are refined by chunks as trained.

        Raises:
            SlotIDError: the data are pictures.
        """
        frames = 1 + (data["frames"] - 1) // PIXELS_TO_LATENTS
        if frames == 1:
            raise SlotIDError(
                f"The data in {folder} was prepared with frames: {data['frames']}, one latent frame, which has no time "
                "to refine. Prepare clips of 5 frames or more."
            )
        chunks = config_from_dict(TemporalConfig, adapter).chunks
        return {"length": chunk_length(frames, chunks), **adapter}

    def draw(self, generator: torch.Generator) -> dict[str, Tensor]:
        """A number in [0, 1): whether the chunks before are the ground truth's; and where the channels drift to."""
        return {
            CHOICE: torch.rand(1, generator=generator),
            DRIFT: self.objective.drift * torch.randn(CHANNELS, generator=generator),
        }

    def undisturbed(self) -> dict[str, Tensor]:
        """The module's own chunks, as in use, and the drift by one standard deviation, up and down in turn."""
        return {CHOICE: torch.ones(1), DRIFT: self.objective.drift * (1 - 2 * (torch.arange(CHANNELS) % 2)).float()}

    def parameter_group(self, name: str) -> str:
        return "temporal"

    def at_step(self, step: int) -> None:
        """Nothing is annealed."""

    @property
    def backbone_passes(self) -> tuple[float, float]:
        """The frozen model estimates, and no gradient goes through it."""
        return float(self.objective.estimate_steps), 0.0

    def shards(self) -> Sequence[nn.Module]:
        return [*self.model.blocks, self.model]

    @torch.no_grad()
    def estimate(self, batch: Batch) -> Tensor:
        """What the frozen model makes of the clips with some noise on them: (B, 16, T, h, w) clean latents."""
        own = self.objective
        level = own.least_noise + (own.most_noise - own.least_noise) * batch.noise_level  # (B,)
        dtype, padding_row = self.model.patch_embedding.weight.dtype, batch.context.shape[1] - 1
        x, context = torch.lerp(batch.video, batch.noise, _spread(level)), batch.context.to(dtype)
        for left in range(own.estimate_steps, 0, -1):
            now = level * left / own.estimate_steps
            given = x if batch.start is None else torch.cat([x, batch.start.to(x)], dim=1)
            velocity = self.model(given.to(dtype), 1000 * now, context, padding_row=padding_row).float()
            x = x - _spread(level / own.estimate_steps) * velocity
        return x

    def forward(self, batch: Batch) -> Tensor:
        """Mean squared error (B,) of the refined latents after the first frame, which stays as it is."""
        estimate, drift = self.estimate(batch), drifting(batch.conditions[DRIFT], batch.video.shape[2])
        config = self.temporal.config
        length = config.length or chunk_length(batch.video.shape[2], config.chunks)
        if self.training:
            taught = batch.video, batch.conditions[CHOICE][:, 0] < self.objective.taught
            error = self.temporal(estimate + drift, config.beta, length, taught).float() - batch.video
            return self.shared.loss(error[:, :, 1:]) + self.shared.auxiliary_loss(error, batch)
        refined = self.temporal(estimate, config.beta, length).float()
        before, after, truth = (part[:, :, 1:] for part in (estimate, refined, batch.video))
        self.figures = {
            "loss_before": self.shared.loss(before - truth),
            "sharpness": sharpness(after, truth),
            "sharpness_before": sharpness(before, truth),
        }
        if self.objective.drift:
            drifted = self.temporal(estimate + drift, config.beta, length).float()
            self.figures["drift_left"] = share_left(drifted - refined, drift)
        return self.shared.loss(after - truth)

    def predictor(self, batch: Batch) -> Predict:
        """The frozen model's, as the module acts behind sampling."""

        def predict(noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor | None) -> Tensor:
            dtype = self.model.patch_embedding.weight.dtype
            return self.model(noisy.to(dtype), 1000 * noise_level, context.to(dtype), padding_row=context.shape[1] - 1)

        return predict

    def export(self, path: str | os.PathLike, tensors: dict[str, Tensor], facts: dict) -> None:
        """Write the module's file, in half precision, from trained tensors by parameter name."""
        own = {name: tensor.half() for name, tensor in with_prefix(tensors, "temporal.").items()}
        save_temporal(path, self.temporal.config, own, facts)


def drifting(ends: Tensor, frames: int) -> Tensor:
    """Offsets (B, 16) of the last frame -> (B, 16, T, 1, 1), none in the first and growing evenly."""
    return ends[:, :, None, None, None] * torch.linspace(0, 1, frames, device=ends.device).view(-1, 1, 1)


def share_left(change: Tensor, drift: Tensor) -> Tensor:
    """How much of a drift (B, 16, T, 1, 1) of the last frame is in what it changed (B, 16, T, h, w) there: (B,)."""
    last, end = change[:, :, -1].mean((2, 3)), drift[:, :, -1, 0, 0]
    return (last * end).sum(1) / end.square().sum(1).clamp_min(1e-12)


def _spread(level: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1, 1)."""
    return level.view(-1, 1, 1, 1, 1)
