"""What is special about training Slot-ID: its modules, its loss, and the file that comes out."""

import os
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import config_from_dict
from ..errors import SlotIDError
from ..slot_id import AdapterConfig, SlotIDAdapter, load_adapter, save_adapter
from ..slot_id.denoise import predict_velocity
from ..slot_id.stream import IdentityStream
from ..toy_world.family import part_path
from ..wan import WanModel
from ..weights import with_prefix
from .backbone import TOY_WORLD
from .batches import Batch
from .config import TrainingConfig
from .lora import add_lora, exported_lora, put_lora

MOVEMENT_GRID = 8  # places along a side at which movement is read
PIXELS_PER_LATENT = 8  # along a side, of Wan's VAE


class SlotIDStrategy(nn.Module):
    """The frozen backbone with LoRA, and the adapter; `forward` gives the loss of each sample.

    One module, so that DDP and FSDP see every parameter in one place.
    """

    def __init__(self, config: TrainingConfig, backbone: WanModel):
        super().__init__()
        self.config = config
        self.model = backbone
        self.adapter = SlotIDAdapter(adapter_config(config.adapter, backbone))
        start_silent(self.adapter)
        self.portrait_readout = None
        if config.objective.portrait_weight:
            settings = self.adapter.config
            side = settings.portrait_size // PIXELS_PER_LATENT
            channels = (settings.anchor or settings.encoder).latent_channels
            self.portrait_readout = nn.Linear(settings.global_width, channels * side**2)
        self.movement_readout = None
        if config.objective.movement_weight and self.adapter.encoder is not None:
            self.movement_readout = nn.Linear(self.adapter.config.global_width, MOVEMENT_GRID**2)
        freeze_unread(
            self.adapter,
            clip_vector_is_read=bool(self.portrait_readout or self.movement_readout),
            portrait_vector_is_read=bool(self.portrait_readout),
        )
        if self.adapter.config.lora is not None:
            add_lora(backbone, self.adapter.config.lora)
        else:
            backbone.requires_grad_(False)
        if config.run.start_from:
            self.start_from(config.run.start_from)

    def start_from(self, path: str) -> None:
        """The weights of an adapter in place of fresh ones; what has no weights, such as the gate, stays as set.

        Raises:
            SlotIDError: it is no adapter, or one of other sizes.
        """
        first = load_adapter(part_path("adapter") if path == TOY_WORLD else path)
        try:
            self.adapter.load_state_dict(first.state_dict())
            if first.lora and self.adapter.config.lora is None:
                raise SlotIDError("it has a LoRA, and adapter.lora is null")
            if first.lora:
                put_lora(self.model, first.lora, self.adapter.config.lora)
        except (RuntimeError, SlotIDError) as error:
            what = "; ".join(line.strip() for line in str(error).splitlines()[:3])
            raise SlotIDError(
                f"run.start_from is {path}, which is not of the sizes in `adapter`: {what}. Take over its settings, "
                "which are in its file, or leave run.start_from out."
            ) from error

    @property
    def num_tokens(self) -> int:
        config = self.adapter.config
        slots = config.encoder.reader.num_slots if config.encoder else 0
        return slots + (config.anchor.num_anchors if config.anchor else 0)

    def trainable(self) -> dict[str, nn.Parameter]:
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def rate(self, name: str) -> float:
        """Factor on the learning rate of a parameter."""
        rates = self.config.optimizer.rates
        if name.startswith("model."):
            return rates.lora
        _, part, *rest = name.split(".")
        if "readout" in rest or part in ("video_norm", "image_norm"):
            return rates.tokens
        return {"film": rates.film, "anchor": rates.anchor}.get(part, rates.encoder)

    def at_step(self, step: int) -> None:
        if self.adapter.encoder is not None:
            self.adapter.encoder.temperature = self.config.objective.temperature(step, self.config.run.steps)

    def forward(self, batch: Batch) -> Tensor:
        """The loss of each sample (B,): flow matching, and in training mode what else the objective asks for."""
        noisy = torch.lerp(batch.video, batch.noise, batch.noise_level.view(-1, 1, 1, 1, 1))
        streams = self.adapter.streams(batch.reference, batch.portrait)
        velocity = predict_velocity(
            self.model, noisy, batch.noise_level, batch.context, self.adapter.identity(*streams), batch.has_identity,
            batch.token_mask,
        )  # fmt: skip
        error = velocity.float() - (batch.noise - batch.video)
        loss = error.square().mean((1, 2, 3, 4))
        return loss + self.asked_for_as_well(streams, batch, error) if self.training else loss

    def asked_for_as_well(self, streams: Sequence[IdentityStream | None], batch: Batch, error: Tensor) -> Tensor:
        """What the objective adds to flow matching (B,)."""
        objective, more = self.config.objective, error.new_zeros(len(error))
        if objective.change_weight and error.shape[2] > 1:  # pictures do not move
            # Half, as the difference of two independent errors is twice as large.
            more = more + objective.change_weight * 0.5 * error.diff(dim=2).square().mean((1, 2, 3, 4))
        if self.movement_readout is not None:
            more = more + objective.movement_weight * self.movement_loss(streams[0], batch.video)
        if self.portrait_readout is not None:
            more = more + objective.portrait_weight * self.portrait_loss(streams, batch.portrait)
        return more

    def movement_loss(self, stream: IdentityStream, video: Tensor) -> Tensor:
        """How badly it is read off the clip stream's global vector where another clip of the person moves (B,)."""
        told = self.movement_readout(stream.global_vector).float()
        return (told - movement_of(video)).square().mean(1)

    def portrait_loss(self, streams: Sequence[IdentityStream | None], portrait: Tensor) -> Tensor:
        """How badly the portrait is read off each stream's global vector (B,): who it is, without the noise in which
        flow matching says so.
        """
        told = [self.portrait_readout(stream.global_vector).float() for stream in streams if stream is not None]
        return torch.stack([(one - portrait.flatten(1)).square().mean(1) for one in told]).mean(0)

    def export(self, path: str | os.PathLike, tensors: dict[str, Tensor], facts: dict) -> None:
        """Write an adapter file from trained tensors by parameter name."""
        adapter = SlotIDAdapter(self.adapter.config)
        unread = {name: torch.zeros_like(value) for name, value in adapter.state_dict().items()}
        adapter.load_state_dict(unread | with_prefix(tensors, "adapter."))
        if adapter.encoder is not None:
            adapter.encoder.temperature = self.adapter.encoder.temperature
        if self.adapter.config.lora is not None:
            adapter.lora = exported_lora(with_prefix(tensors, "model."), self.adapter.config.lora)
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
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)


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


def with_sizes_of_data(settings: dict, data: dict, folder: os.PathLike) -> dict:
    """Adapter settings with the reference's sizes of prepared data, so that an adapter's file says how it was trained.

    Args:
        data: the settings with which `folder` was prepared.

    Raises:
        SlotIDError: the settings say another size.
    """
    settings = dict(settings)
    for name in ("reference_size", "reference_frames", "portrait_size"):
        if settings.setdefault(name, data[name]) != data[name]:
            raise SlotIDError(
                f"adapter.{name} is {settings[name]}, but the data in {folder} was prepared with {data[name]}. Leave "
                "the setting out, or prepare the data with it."
            )
    return settings


def adapter_config(settings: dict, backbone: WanModel) -> AdapterConfig:
    """`AdapterConfig` from settings that need not say the backbone's width and depth."""
    values = {"model_width": backbone.config.dim, "model_depth": backbone.config.num_layers, **settings}
    for stream in ("encoder", "anchor"):
        if values.setdefault(stream, {}) is not None:  # None leaves a stream out
            values[stream] = {"model_width": backbone.config.dim, **values[stream]}
    return config_from_dict(AdapterConfig, values)
