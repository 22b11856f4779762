"""What is special about training Lynx: its adapters beside a backbone that stays as it is (Lynx, section 3)."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from ...config import config_from_dict
from ...errors import SlotIDError
from ...ranges import Range
from ...wan import WanModel
from ...wan.guidance import Predict
from ...weights import save_weights, with_prefix
from ..contract import AnyBatch, Batch, StrategySettings, errors_of
from ..described import described_loss
from ..face_objective import FaceGuided, GuidedByFaces
from ..start import starting_from
from .adapter import KeyValueLayer, LynxAdapter, layers_by_block
from .config import AdapterConfig
from .inference import (
    FACE,
    GREY,
    NOBODY,
    PICTURE,
    PROMPT,
    branches_of,
    in_one_file,
    load_trained,
    predict_velocities,
    predictor,
)
from .layouts import LITE_STRIDE
from .resampler import Resampler
from .resampler_start import identity_loss, identity_readout, start_resampler

KIND, VERSION = "lynx_adapter", 1
# Other looks of the face picture, and its embedding in each; see the dataset's `looks`.
FACE_LOOKS, PICTURE_LOOKS = "face_embedding_looks", "face_picture_looks"
FACTORS = "factors"
PICTURE_CHANNELS = 16  # of latents


@dataclass(frozen=True)
class ObjectiveSettings(FaceGuided):
    """Lynx learns from flow matching, and from a pretrained resampler.

    Attributes:
        resampler: a file whose resampler the run starts with; see `resampler_start.start_resampler`. "" starts afresh.
        pretrain_factors: train the resampler alone, to tell who somebody is by so many factors, with no video model in
            the step; the adapter file is then one for `resampler`. For drawn people, of whom 62 factors are known.
    """

    resampler: str = ""
    pretrain_factors: Annotated[int, Range(0, 4096)] = 0


class Strategy(GuidedByFaces, nn.Module):
    """The frozen backbone and the adapters; see `contract.Strategy`."""

    required_tensors: tuple[str, ...] = (FACE, PICTURE, GREY, PROMPT)
    augmented_tensors: ClassVar = {FACE: FACE_LOOKS, PICTURE: PICTURE_LOOKS}
    shown_tensor = PICTURE
    packs = splits_sequences = True
    parameter_groups = ("resampler", "id_layers", "ref_layers")
    text_rows = 0

    def __init__(self, settings: StrategySettings, backbone: WanModel):
        super().__init__()
        self.settings = settings
        self.described_weight = 0.0
        assert isinstance(settings.own_objective, ObjectiveSettings)  # the registry pairs both classes of a module
        own = settings.own_objective
        self.model = backbone.requires_grad_(False)
        self.config = adapter_config(settings.adapter, backbone)
        self.adapter = new_adapter(self.config)
        if not own.pretrain_factors:
            check_sees_pictures(self.adapter, backbone)
        self.look_at_faces(settings, backbone)
        self.readout: nn.Linear | None = None
        if own.pretrain_factors:
            self.only_resampler(own.pretrain_factors)
        if settings.start_from:
            self.start_from(settings.start_from)
        if own.resampler:
            self.start_resampler(own.resampler)

    def start_from(self, path: str) -> None:
        """The weights of an adapter in place of fresh ones.

        Raises:
            SlotIDError: it is no adapter, or one of other sizes.
        """
        first = load_trained(path)
        with starting_from(path):
            self.adapter.load_state_dict(first.state_dict())

    def start_resampler(self, path: str) -> None:
        """The weights of a pretrained resampler.

        Raises:
            SlotIDError: the file does not fit, or `run.start_from` has given a whole adapter already.
        """
        if self.settings.start_from:
            raise SlotIDError(
                f"objective.own.resampler is {path}, and run.start_from gives a whole adapter. Leave one out."
            )
        if self.adapter.resampler is not None:  # Ref layers alone need none
            start_resampler(self.adapter.resampler, path)

    def only_resampler(self, num_factors: int) -> None:
        """Leave what pretraining does not train without gradients."""
        resampler = self.adapter.resampler
        if resampler is None:
            raise SlotIDError(
                "objective.own.pretrain_factors trains the resampler, and adapter.has_id is false. Set has_id to true."
            )
        self.required_tensors = (FACE, FACTORS)
        self.adapter.requires_grad_(False)
        resampler.requires_grad_(True)
        self.readout = identity_readout(resampler.config, num_factors)

    @staticmethod
    def settings_for_data(adapter: dict, data: Mapping, folder: os.PathLike) -> dict:
        """Lynx reads sizes off its tensors, so nothing of the data is needed."""
        return adapter

    def draw(self, generator: torch.Generator) -> dict[str, Tensor]:
        return self.drawn_faces(generator)

    def undisturbed(self) -> dict[str, Tensor]:
        return {}

    def parameter_group(self, name: str) -> str:
        return "resampler" if name.startswith("readout.") else name.split(".")[1]

    def at_step(self, step: int) -> None:
        self.described_weight = self.settings.objective.described_weight_at(step, self.settings.steps)

    def shards(self) -> Sequence[nn.Module]:
        adapter = self.adapter
        parts = [*self.model.blocks, self.model, *adapter.id_layers.values(), *adapter.ref_layers.values()]
        return parts if adapter.resampler is None else [*parts, adapter.resampler]

    def forward(self, batch: AnyBatch) -> Tensor:
        """The flow-matching loss of each sample (B,); where there is no identity, with Lynx's "nobody"."""
        if self.readout is not None and self.adapter.resampler is not None:
            conditions = batch.conditions
            return identity_loss(self.adapter.resampler, self.readout, conditions[FACE], conditions[FACTORS])
        people = torch.arange(len(batch), device=batch.context.device) + 1
        rows = torch.where(batch.has_identity > 0, people, NOBODY)
        condition = branches_of(self.adapter, self.model, batch.conditions, rows)
        noisy = [part.model_input for part in batch.parts]
        velocities = predict_velocities(self.model, noisy, batch.noise_level, batch.context, condition)
        errors, objective = errors_of(batch, velocities), self.settings.objective
        loss = objective.losses(errors)
        if not self.training:
            return loss
        loss = loss + self.face_losses(batch, velocities)
        loss = loss + described_loss(self.model, batch, velocities, self.described_weight)
        return loss + objective.auxiliary_losses(errors, batch)

    def predictor(self, batch: Batch) -> Predict:
        return predictor(self.model, self.adapter, None if self.readout is not None else batch.conditions)

    def export(self, path: str | os.PathLike, tensors: dict[str, Tensor], facts: dict) -> None:
        """One file in published layouts: choose it at every input of Load Lynx Adapter."""
        trained = with_prefix(tensors, "adapter.")
        own = in_one_file((name, tensor.half()) for name, tensor in trained.items())
        save_weights(path, own, {"kind": KIND, "version": VERSION, "config": asdict(self.config), "training": facts})


def check_sees_pictures(adapter: LynxAdapter, model: WanModel) -> None:
    """
    Raises:
        SlotIDError: Ref layers read what the model sees of one picture, and it takes more channels than a picture has.
    """
    if adapter.ref_layers and model.config.in_dim != PICTURE_CHANNELS:
        raise SlotIDError(
            f"Lynx's Ref layers read what a text-to-video model sees of the face; this model takes "
            f"{model.config.in_dim} channels, as image-to-video does. Set adapter.has_ref to false, or train on a "
            f"text-to-video model of {PICTURE_CHANNELS}."
        )


def adapter_config(settings: dict, backbone: WanModel) -> AdapterConfig:
    """`AdapterConfig` from settings that need not say the backbone's width and depth."""
    width = backbone.config.dim
    resampler = {"output_width": width, **settings.get("resampler", {})}
    values = {"model_width": width, "model_depth": backbone.config.num_layers, **settings, "resampler": resampler}
    return config_from_dict(AdapterConfig, values)


def new_adapter(config: AdapterConfig) -> LynxAdapter:
    """Fresh adapters that change nothing yet: their values are zero."""
    width, token_width = config.model_width, config.resampler.output_width
    is_full = config.variant == "full"
    blocks = range(0, config.model_depth, 1 if is_full else LITE_STRIDE)
    id_layers = {
        block: KeyValueLayer(token_width, width, is_full, config.num_registers if is_full else 0) for block in blocks
    }
    ref_layers = {block: KeyValueLayer(width, width, True) for block in range(config.model_depth)}
    adapter = LynxAdapter(
        Resampler(config.resampler) if config.has_id else None,
        id_layers if config.has_id else {},
        ref_layers if config.has_ref else {},
        config.variant if config.has_id else "none",
    )
    for layer in (*layers_by_block(adapter.id_layers).values(), *layers_by_block(adapter.ref_layers).values()):
        nn.init.zeros_(layer.to_v.weight)
        if layer.to_v.bias is not None:
            nn.init.zeros_(layer.to_v.bias)
    return adapter
