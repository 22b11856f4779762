"""What is special about training LaVieID: components of the reference, and the router's weights against a parsing."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor, nn

from ...config import config_from_dict
from ...errors import SlotIDError
from ...ranges import Range
from ...wan import WanModel
from ...wan.guidance import Predict
from ...wan.lora import add_lora, exported_lora, put_lora
from ...weights import with_prefix
from ..contract import AnyBatch, StrategySettings, errors_of
from ..described import described_loss
from ..face_objective import FaceGuided, GuidedByFaces
from ..start import starting_from
from .adapter import LaVieIDAdapter, load_adapter, save_adapter
from .config import CALLED, FILES, AdapterConfig
from .inference import (
    EMBEDDING,
    PICTURES,
    PLACES,
    People,
    people_of,
    predict_velocities,
    predictor,
    rows_with_somebody,
)
from .injection import RouterCondition
from .route_loss import route_loss, token_targets
from .router import Routes
from .vision import See, load_vision, seen_by

SHARES = "component_shares"
# Parameters of the frozen vision networks, and numbers that one of them holds while it looks at one component.
FROZEN = {"clip_vit_h": (632_000_000, 257 * 1280 * 40), "eva02_clip_l": (304_000_000, 577 * 1024 * 40)}


@dataclass(frozen=True)
class ObjectiveSettings(FaceGuided):
    """LaVieID's own part of the objective (equation 6).

    Attributes:
        flow_weight, route_weight: λ_diff and λ_route. Routing that is not learned has no route loss.
        clip_vision: path of the frozen vision network, for adapters that look with one: clip_vision_h.safetensors, or
            EVA02_CLIP_L_336_psz14_s6B.pt.
    """

    flow_weight: Annotated[float, Range(0, 1e4)] = 1.0
    route_weight: Annotated[float, Range(0, 1e4)] = 1.0
    clip_vision: str = ""


class Strategy(GuidedByFaces, nn.Module):
    """The frozen backbone and the adapter; see `contract.Strategy`."""

    required_tensors: tuple[str, ...] = (PICTURES, PLACES)
    target_tensors: tuple[str, ...] = (SHARES,)
    shown_tensor = ""
    packs, frame_axes = True, {SHARES: 1, **GuidedByFaces.frame_axes}
    parameter_groups = ("vision", "encoder", "attention", "weights", "lora")
    text_rows = 0

    def __init__(self, settings: StrategySettings, backbone: WanModel):
        super().__init__()
        self.settings = settings
        self.described_weight = 0.0
        assert isinstance(settings.own_objective, ObjectiveSettings)  # the registry pairs both classes of a module
        self.objective = settings.own_objective
        self.model = backbone.requires_grad_(False)
        self.config = adapter_config(settings.adapter, backbone)
        self.adapter = LaVieIDAdapter(self.config)
        if self.config.lora is not None:
            add_lora(self.model, self.config.lora.layers, self.config.lora.rank, self.config.lora.alpha)
        self._clip: list[nn.Module] = []  # in a list, so that it is no part of this module
        if self.config.encoder.face_width:
            self.required_tensors = (*self.required_tensors, EMBEDDING)
        self.look_at_faces(settings, backbone)
        if settings.start_from:
            self.start_from(settings.start_from)

    def start_from(self, path: str) -> None:
        """The weights of an adapter in place of fresh ones.

        Raises:
            SlotIDError: it is no adapter, or one of other sizes.
        """
        first, lora = load_adapter(path), self.config.lora
        with starting_from(path):
            self.adapter.load_state_dict(first.state_dict())
            if first.lora and lora is None:
                raise SlotIDError("it has a LoRA, and adapter.lora is null")
            if first.lora and lora is not None:
                put_lora(self.model, first.lora, lora.rank, lora.alpha)

    @staticmethod
    def settings_for_data(adapter: dict, data: Mapping, folder: os.PathLike) -> dict:
        """The side of a component's picture, and whether there is a face embedding."""
        vision, encoder = dict(adapter.get("vision") or {}), dict(adapter.get("encoder") or {})
        side = data.get("component_size")
        if side is not None:
            wanted = vision.setdefault("side", side)
            if wanted != side:
                raise SlotIDError(
                    f"adapter.vision.side is {wanted}, and {folder} was prepared with component_size {side}. Set both "
                    "to the same number, or leave adapter.vision.side out."
                )
        if data and not data.get("face_encoder") and encoder.get("face_width", 1):
            raise SlotIDError(
                f"{folder} was prepared without face_encoder, so that it has no face embeddings. Prepare it with "
                "face_encoder set, or set adapter.encoder.face_width to 0."
            )
        return {**adapter, "vision": vision, "encoder": encoder}

    def draw(self, generator: torch.Generator) -> dict[str, Tensor]:
        return self.drawn_faces(generator)

    def undisturbed(self) -> dict[str, Tensor]:
        return {}

    def parameter_group(self, name: str) -> str:
        """Of the router, φ is "attention" and what equation 2 has is "weights"."""
        if name.startswith("model."):
            return "lora"
        part, inside = name.split(".")[1:3]
        return part if part != "router" else "attention" if inside == "attention" else "weights"

    def at_step(self, step: int) -> None:
        self.described_weight = self.settings.objective.described_weight_at(step, self.settings.steps)

    def held_bytes(self, height: int, width: int, samples: int, size: int) -> float:
        """The frozen vision network, in the precision of its file, half, and its features of a sample's components; and
        what looking at faces holds."""
        parameters, numbers = FROZEN.get(self.config.vision.kind, (0, 0))
        return 2 * parameters + 6 * samples * numbers * size + super().held_bytes(height, width, samples, size)

    def shards(self) -> Sequence[nn.Module]:
        adapter = self.adapter
        own = [adapter.encoder] if adapter.vision is None else [adapter.vision, adapter.encoder]
        return [*self.model.blocks, self.model, *own]

    def see(self, device: torch.device) -> See | None:
        """The frozen vision network, read at the first call; None where the adapter has one of its own."""
        if not self.adapter.needs_file:
            return None
        vision = self.config.vision
        if not self._clip:
            if not self.objective.clip_vision:
                raise SlotIDError(
                    f"This adapter looks at components with {CALLED[vision.kind]}, and objective.own.clip_vision is "
                    f"not set. Give the path of {FILES[vision.kind]}, or set adapter.vision.kind to own."
                )
            self._clip.append(load_vision(self.objective.clip_vision, vision).to(device))
        return seen_by(self._clip[0], vision)

    def people(self, batch: AnyBatch) -> People:
        return people_of(self.adapter, batch.conditions, self.see(batch.context.device))

    def forward(self, batch: AnyBatch) -> Tensor:
        """The loss of each sample (B,): flow matching, and in training the route loss and the rest."""
        people = self.people(batch)
        routes = self.adapter.router.routes(people.tokens, people.shown)
        rows = rows_with_somebody(people, batch.has_identity)
        seen: list[tuple[Tensor, Tensor]] = []
        condition = RouterCondition(self.adapter.router, routes, rows, note=lambda *what: seen.append(what))
        noisy = [part.model_input for part in batch.parts]
        given = noisy if rows.any() else [noisy[0] + self.idle(routes), *noisy[1:]]
        velocities = predict_velocities(self.model, given, batch.noise_level, batch.context, condition)
        errors = errors_of(batch, velocities)
        objective, own = self.settings.objective, self.objective
        loss = own.flow_weight * objective.losses(errors)
        if not self.training:
            return loss
        if own.route_weight and self.adapter.router.is_learned:
            for logits, index in seen:
                targets = token_targets(shares_of(batch, index), people.shown[index], logits.shape[2])
                loss = loss.index_add(0, index, own.route_weight * route_loss(logits, targets).to(loss))
        loss = loss + self.face_losses(batch, velocities)
        loss = loss + described_loss(self.model, batch, velocities, self.described_weight)
        return loss + objective.auxiliary_losses(errors, batch)

    def idle(self, routes: Routes) -> Tensor:
        """Zero, by way of the adapter's every parameter.

        Added to the video of rows that show nobody, it lets this process take part in gathering parameters and in
        averaging gradients, for which the others wait.
        """
        somebody = routes.of_rows(torch.zeros(1, dtype=torch.int64))
        somebody = replace(somebody, shown=torch.ones_like(somebody.shown))
        token = routes.value.new_zeros(1, 1, self.config.model_width)
        change, logits = self.adapter.router(token, somebody)
        return 0.0 * (change.sum() + logits.sum())

    def predictor(self, batch: AnyBatch) -> Predict:
        return predictor(self.model, self.adapter, self.people(batch))

    def export(self, path: str | os.PathLike, tensors: dict[str, Tensor], facts: dict) -> None:
        """Write an adapter file, in half precision, from trained tensors by parameter name."""
        own = with_prefix(tensors, "adapter.")
        if self.config.lora is not None:
            own |= exported_lora(with_prefix(tensors, "model."), self.config.lora.alpha)
        save_adapter(path, self.config, {name: tensor.half() for name, tensor in own.items()}, facts)


def shares_of(batch: AnyBatch, index: Tensor) -> Tensor:
    """Component shares (R, 7, T, h, w) of samples `index` (R,); of packed ones it is one sample."""
    if len(batch.parts) == 1:
        return batch.parts[0].conditions[SHARES][index]
    return torch.cat([batch.parts[number].conditions[SHARES] for number in index.tolist()])


def adapter_config(settings: dict, backbone: WanModel) -> AdapterConfig:
    """`AdapterConfig` from settings that need not say the backbone's width and depth."""
    values = {"model_width": backbone.config.dim, "model_depth": backbone.config.num_layers, **settings}
    return config_from_dict(AdapterConfig, values)
