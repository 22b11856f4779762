"""What is special about training Slot-ID: its modules, its loss, and the file that comes out."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...config import config_from_dict
from ...errors import SlotIDError
from ...wan import WanModel
from ...wan.guidance import Predict
from ...wan.lora import add_lora, exported_lora, put_lora
from ...weights import with_prefix
from ..contract import AnyBatch, Batch, StrategySettings, errors_of
from ..described import described_loss
from ..face_objective import FaceGuided, GuidedByFaces
from ..start import starting_from
from .adapter import SlotIDAdapter, load_adapter, save_adapter
from .config import AdapterConfig
from .inference import INFERENCE, predict_velocities, predictor
from .stream import IdentityStream

MOVEMENT_GRID = 8  # places along a side at which movement is read
PIXELS_PER_LATENT = 8  # along a side, of Wan's VAE
TOKEN_MASK, GATE = "token_mask", "gate"


@dataclass(frozen=True)
class ObjectiveSettings(FaceGuided):
    """Slot-ID's own part of the objective.

    Attributes:
        token_dropout: share of identity tokens left out (paper, section 3.3).
        stream_dropout: share of samples that see one stream alone, half of them the clip and half the portrait, so that
            neither stream hides behind the other. Of no use to an adapter with one stream.
        portrait_weight: weight of reading the portrait's latents off the global vectors, by a linear layer that is not
            kept. 0 for the paper's loss alone.
        movement_weight: weight of reading where the training clip moves, and how much, off the clip stream's global
            vector, as `portrait_weight` reads a portrait.
        temperature_start, temperature_end: τ of the Sinkhorn plan, annealed linearly by step ...
        temperature_steps: ... over this share of the run (paper, section 3.2.1: "annealed"; no numbers given).
    """

    token_dropout: float = 0.05
    stream_dropout: float = 0.0
    portrait_weight: float = 0.0
    movement_weight: float = 0.0
    temperature_start: float = 1.0
    temperature_end: float = 0.3
    temperature_steps: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.token_dropout < 1:
            raise SlotIDError(f"token_dropout must lie in [0, 1); got {self.token_dropout}.")
        if not 0 <= self.stream_dropout <= 1:
            raise SlotIDError(f"stream_dropout must lie in [0, 1]; got {self.stream_dropout}.")
        for name in ("portrait_weight", "movement_weight"):
            if getattr(self, name) < 0:
                raise SlotIDError(f"{name} must not be negative; got {getattr(self, name)}.")
        if min(self.temperature_start, self.temperature_end) <= 0:
            raise SlotIDError("temperature_start and temperature_end must be above 0.")

    def temperature(self, step: int, steps: int) -> float:
        progress = min(1.0, step / max(1.0, self.temperature_steps * steps))
        return self.temperature_start + (self.temperature_end - self.temperature_start) * progress


class Strategy(GuidedByFaces, nn.Module):
    """The frozen backbone with LoRA, and the adapter; see `contract.Strategy`."""

    required_tensors: tuple[str, ...] = INFERENCE.required_tensors
    shown_tensor = "reference"
    packs = splits_sequences = True
    parameter_groups = ("encoder", "anchor", "film", "lora", "tokens")

    def __init__(self, settings: StrategySettings, backbone: WanModel):
        super().__init__()
        self.settings = settings
        self.described_weight = 0.0
        assert isinstance(settings.own_objective, ObjectiveSettings)  # the registry pairs both classes of a module
        self.objective = settings.own_objective
        self.model = backbone
        self.adapter = SlotIDAdapter(adapter_config(settings.adapter, backbone))
        self.required_tensors = self.adapter.config.required_tensors
        self.look_at_faces(settings, backbone)
        start_silent(self.adapter)
        self.portrait_readout = None
        if self.objective.portrait_weight:
            config = self.adapter.config
            side = config.portrait_size // PIXELS_PER_LATENT
            channels = config.streams[-1].latent_channels  # the portrait's, where it has an encoder
            self.portrait_readout = nn.Linear(config.global_width, channels * side**2)
        self.movement_readout = None
        if self.objective.movement_weight and self.adapter.encoder is not None:
            self.movement_readout = nn.Linear(self.adapter.config.global_width, MOVEMENT_GRID**2)
        freeze_unread(
            self.adapter,
            clip_vector_is_read=bool(self.portrait_readout or self.movement_readout),
            portrait_vector_is_read=bool(self.portrait_readout),
        )
        lora = self.adapter.config.lora
        if lora is not None:
            add_lora(backbone, lora.layers, lora.rank, lora.alpha)
        else:
            backbone.requires_grad_(False)
        if settings.start_from:
            self.start_from(settings.start_from)

    def start_from(self, path: str) -> None:
        """The weights of an adapter in place of fresh ones; what has no weights, such as the gate, stays as set.

        Raises:
            SlotIDError: it is no adapter, or one of other sizes.
        """
        first, lora = load_adapter(path), self.adapter.config.lora
        with starting_from(path):
            self.adapter.load_state_dict(first.state_dict())
            if first.lora and lora is None:
                raise SlotIDError("it has a LoRA, and adapter.lora is null")
            if first.lora and lora is not None:
                put_lora(self.model, first.lora, lora.rank, lora.alpha)

    @staticmethod
    def settings_for_data(adapter: dict, data: Mapping, folder: os.PathLike) -> dict:
        """Adapter settings with the reference's sizes and rate of prepared data, so that an adapter's file says how it
        was trained.

        Raises:
            SlotIDError: the settings say another size or rate.
        """
        settings = dict(adapter)
        prepared = {name: data[name] for name in ("reference_size", "reference_frames", "portrait_size")}
        if data.get("frames_per_second") is not None:  # every frame, whatever the clips' rates, is no rate
            prepared["reference_rate"] = float(data["frames_per_second"])
        for name, value in prepared.items():
            if settings.setdefault(name, value) != value:
                raise SlotIDError(
                    f"adapter.{name} is {settings[name]}, but the data in {folder} was prepared with {value}. "
                    "Leave the setting out, or prepare the data with it."
                )
        return settings

    @property
    def text_rows(self) -> int:
        """Identity tokens: slots and anchors."""
        config = self.adapter.config
        slots = config.encoder.reader.num_slots if config.encoder else 0
        return slots + (config.anchor.num_anchors if config.anchor else 0)

    def draw(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Which identity tokens a sample keeps, (N,) of 0 and 1, and its gate, NaN for the schedule's."""
        kept = (torch.rand(self.text_rows, generator=generator) >= self.objective.token_dropout).float()
        gate = torch.tensor(torch.nan)
        if self.objective.stream_dropout:
            alone, portrait = torch.rand(2, generator=generator)
            if alone < self.objective.stream_dropout and len(self.adapter.config.streams) > 1:
                gate = (portrait < 0.5).float()
                kept = kept * self.tokens_of(gate)
        return {TOKEN_MASK: kept, GATE: gate} | self.drawn_faces(generator)

    def tokens_of(self, gate: Tensor) -> Tensor:
        """(N,) 1 for anchors and 0 for slots at a gate of 1, the other way round at 0."""
        anchor = self.adapter.config.anchor
        is_anchor = torch.arange(self.text_rows) < (anchor.num_anchors if anchor else 0)
        return torch.where(is_anchor, gate, 1 - gate)

    def undisturbed(self) -> dict[str, Tensor]:
        return {TOKEN_MASK: torch.ones(self.text_rows), GATE: torch.tensor(torch.nan)}

    def parameter_group(self, name: str) -> str:
        if name.startswith("model."):
            return "lora"
        _, part, *rest = name.split(".")
        if "readout" in rest or part in ("video_norm", "image_norm"):
            return "tokens"
        return part if part in ("film", "anchor") else "encoder"

    def at_step(self, step: int) -> None:
        self.described_weight = self.settings.objective.described_weight_at(step, self.settings.steps)
        if self.adapter.encoder is not None:
            self.adapter.encoder.temperature = self.objective.temperature(step, self.settings.steps)

    def shards(self) -> Sequence[nn.Module]:
        adapter = self.adapter
        parts = [*self.model.blocks, self.model, adapter.encoder, adapter.anchor, adapter.film]
        return [part for part in parts if part is not None]

    def forward(self, batch: AnyBatch) -> Tensor:
        """The loss of each sample (B,): flow matching, and in training mode what else the objective asks for."""
        conditions = batch.conditions
        streams = self.adapter.streams(*(conditions[name] for name in self.adapter.config.required_tensors))
        velocities = predict_velocities(
            self.model, [part.model_input for part in batch.parts], batch.noise_level, batch.context,
            self.adapter.identity(*streams), batch.has_identity, conditions[TOKEN_MASK], conditions[GATE],
        )  # fmt: skip
        errors = errors_of(batch, velocities)
        loss = self.settings.objective.losses(errors)
        if not self.training:
            return loss
        loss = loss + self.face_losses(batch, velocities)
        loss = loss + described_loss(self.model, batch, velocities, self.described_weight)
        return loss + self.auxiliary_loss(streams, batch, errors)

    def auxiliary_loss(
        self, streams: Sequence[IdentityStream | None], batch: AnyBatch, errors: Sequence[Tensor]
    ) -> Tensor:
        """What training adds to flow matching (B,), weighted and summed."""
        loss = self.settings.objective.auxiliary_losses(errors, batch)
        clip_stream = streams[0]
        if self.movement_readout is not None and clip_stream is not None:
            loss = loss + self.objective.movement_weight * self.movement_loss(clip_stream, batch)
        if self.portrait_readout is not None:
            loss = loss + self.objective.portrait_weight * self.portrait_loss(streams, batch.conditions["portrait"])
        return loss

    def movement_loss(self, stream: IdentityStream, batch: AnyBatch) -> Tensor:
        """Auxiliary loss (B,): error of the movement map of the video to learn, predicted from the clip stream's global
        vector.

        Args:
            stream: of another clip of the same person.
        """
        assert self.movement_readout is not None  # the objective has a movement_weight
        predicted = self.movement_readout(stream.global_vector).float()
        moved = torch.cat([movement_of(part.video) for part in batch.parts])
        return (predicted - moved).square().mean(1)

    def portrait_loss(self, streams: Sequence[IdentityStream | None], portrait: Tensor) -> Tensor:
        """Auxiliary loss (B,): error of the portrait latents (B, C, 1, H, W) predicted from each global vector.

        It supervises identity directly, without the noise of flow matching.
        """
        readout = self.portrait_readout
        assert readout is not None  # the objective has a portrait_weight
        predictions = [readout(stream.global_vector).float() for stream in streams if stream is not None]
        return torch.stack([(one - portrait.flatten(1)).square().mean(1) for one in predictions]).mean(0)

    def predictor(self, batch: Batch) -> Predict:
        identity = self.adapter(*(batch.conditions[name] for name in self.adapter.config.required_tensors))
        return predictor(self.model, identity)

    def export(self, path: str | os.PathLike, tensors: dict[str, Tensor], facts: dict) -> None:
        """Write an adapter file from trained tensors by parameter name."""
        adapter = SlotIDAdapter(self.adapter.config)
        unread = {name: torch.zeros_like(value) for name, value in adapter.state_dict().items()}
        adapter.load_state_dict(unread | with_prefix(tensors, "adapter."))
        if adapter.encoder is not None and self.adapter.encoder is not None:
            adapter.encoder.temperature = self.adapter.encoder.temperature
        if self.adapter.config.lora is not None:
            adapter.lora = exported_lora(with_prefix(tensors, "model."), self.adapter.config.lora.alpha)
        save_adapter(path, adapter.half(), facts)


def movement_of(video: Tensor) -> Tensor:
    """How much latents (B, C, T, H, W) change from frame to frame, place by place: (B, MOVEMENT_GRID²).

    Pictures, T = 1, do not move.
    """
    change = video.diff(dim=2) if video.shape[2] > 1 else torch.zeros_like(video)
    energy = change.square().mean((1, 2))[:, None]  # (B, 1, H, W)
    return F.adaptive_avg_pool2d(energy, MOVEMENT_GRID).sqrt().flatten(1)


def start_silent(adapter: SlotIDAdapter) -> None:
    """Zero the tokens of an adapter that has learnt nothing, so that training departs from the base model.

    Random tokens do harm at first, and what is learnt first is then to say the same of everybody and be ignored:
    0.06% of the tokens' variance was between people after 500 steps.
    """
    for stream, norm in ((adapter.encoder, adapter.video_norm), (adapter.anchor, adapter.image_norm)):
        if stream is not None:
            last = norm if adapter.config.normalize_tokens else stream.readout[-1]
            nn.init.zeros_(last.get_parameter("weight"))
            nn.init.zeros_(last.get_parameter("bias"))


def freeze_unread(adapter: SlotIDAdapter, clip_vector_is_read: bool, portrait_vector_is_read: bool) -> None:
    """What nothing reads gets no gradient, for which DDP would wait and of which a checkpoint would hold nothing.

    FiLM reads both global vectors; the arguments say which of them a training loss reads as well.
    """
    for stream, norm, is_read in (
        (adapter.encoder, adapter.video_norm, clip_vector_is_read),
        (adapter.anchor, adapter.image_norm, portrait_vector_is_read),
    ):
        if stream is None:
            norm.requires_grad_(False)
        elif adapter.film is None and not is_read:
            stream.global_readout.requires_grad_(False)


def adapter_config(settings: dict, backbone: WanModel) -> AdapterConfig:
    """`AdapterConfig` from settings that need not say the backbone's width and depth."""
    values = {"model_width": backbone.config.dim, "model_depth": backbone.config.num_layers, **settings}
    for stream in ("encoder", "anchor"):
        if values.setdefault(stream, {}) is not None:  # None leaves a stream out
            values[stream] = {"model_width": backbone.config.dim, **values[stream]}
    return config_from_dict(AdapterConfig, values)
