"""What is special about training ST-DRC: the reference in the context, and which picture of the person it is."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from ...config import config_from_dict
from ...errors import SlotIDError
from ...ranges import Range, Share
from ...wan import WanModel
from ...wan.guidance import Predict
from ...wan.lora import add_lora, exported_lora, lora_key, new_lora, put_lora
from ...weights import with_prefix
from ..contract import AnyBatch, Batch, StrategySettings, errors_of
from ..described import described_loss
from ..face_objective import FaceGuided, GuidedByFaces
from ..start import starting_from
from .adapter import STDRCAdapter, load_adapter, save_adapter, token_lora
from .config import AdapterConfig
from .inference import AUGMENTED, PICTURE, predict_velocities, predictor
from .injection import ReferenceCondition

CHOICE = "picture_choice"


@dataclass(frozen=True)
class ObjectiveSettings(FaceGuided):
    """ST-DRC's own part of the objective; its "face-guided identity objective" is in `FaceGuided`.

    Attributes:
        augmented: share of samples whose reference is one of its prepared augmentations ("reference-robust identity
            enhancement"); which ones there are, and how often each is applied, are settings of the preparation.
        own_frame: share of samples, at the first step, whose reference is the first frame of the clip itself. A picture
            of another scene helps little at first and disturbs, so that training would have the model look away from
            it; one that shows what is to be drawn teaches it to look. Ours.
        own_frame_steps: ... falling evenly to 0 over this share of the run.
    """

    augmented: Share = 0.8
    own_frame: Share = 0.0
    own_frame_steps: Annotated[float, Range(1e-6, 1)] = 0.5

    def own_frame_at(self, step: int, steps: int) -> float:
        """Share of own first frames at a step of a run of `steps`."""
        return self.own_frame * max(0.0, 1 - step / (self.own_frame_steps * steps))


class Strategy(GuidedByFaces, nn.Module):
    """The frozen backbone and the LoRA; see `contract.Strategy`."""

    required_tensors: tuple[str, ...] = (PICTURE, AUGMENTED)
    shown_tensor = PICTURE
    parameter_groups = ("lora",)
    packs = True
    text_rows = 0
    appended_frames = 1

    def __init__(self, settings: StrategySettings, backbone: WanModel):
        super().__init__()
        self.settings = settings
        self.described_weight, self.own_frame = 0.0, 0.0
        assert isinstance(settings.own_objective, ObjectiveSettings)  # the registry pairs both classes of a module
        self.objective = settings.own_objective
        self.model = backbone
        self.config = adapter_config(settings.adapter, backbone)
        self.look_at_faces(settings, backbone)
        lora, layout = self.config.lora, self.config.layout
        self.reference_lora: nn.ParameterDict | None = None
        if backbone.activation_checkpointing and (lora.tokens == "reference" or not layout.reads_text):
            raise SlotIDError(
                "adapter.lora.tokens 'reference' and adapter.layout.reads_text false change layers for a part of the "
                "tokens, which recomputed blocks would not see. Set model.activation_checkpointing to false, or leave "
                "both settings as they are by default."
            )
        if lora.tokens == "all":
            add_lora(backbone, lora.layers, lora.rank, lora.alpha)
        else:
            backbone.requires_grad_(False)
            fresh = new_lora(lora.layers, lora.rank, lora.alpha, self.config.model_width, self.config.model_depth)
            self.reference_lora = nn.ParameterDict(
                {_dotless(name): tensor for name, tensor in fresh.items() if not name.endswith(".alpha")}
            )
        if settings.start_from:
            self.start_from(settings.start_from)

    def start_from(self, path: str) -> None:
        """The weights of an adapter in place of fresh ones; the layout stays as set.

        Raises:
            SlotIDError: it is no adapter, or one of other sizes.
        """
        first, lora = load_adapter(path), self.config.lora
        with starting_from(path):
            if first.config.lora.tokens != lora.tokens:
                raise SlotIDError(f"its LoRA is for {first.config.lora.tokens} tokens")
            if self.reference_lora is None:
                put_lora(self.model, first.lora, lora.rank, lora.alpha)
            elif first.config.lora != lora:
                raise SlotIDError(f"its LoRA has rank {first.config.lora.rank} and other settings")
            else:
                for name, parameter in self.reference_lora.items():
                    parameter.data.copy_(first.lora[_dotted(name)])

    @staticmethod
    def settings_for_data(adapter: dict, data: Mapping, folder: os.PathLike) -> dict:
        """Nothing of the data is needed: the reference has the size of the video."""
        return adapter

    def draw(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Three numbers in [0, 1): whether the reference is an augmented one, which, and whether it is the clip's own
        frame; and one for each frame in which the face is looked at."""
        return {CHOICE: torch.rand(3, generator=generator)} | self.drawn_faces(generator)

    def undisturbed(self) -> dict[str, Tensor]:
        """The picture as it is."""
        return {CHOICE: torch.ones(3)}

    def parameter_group(self, name: str) -> str:
        return "lora"

    def at_step(self, step: int) -> None:
        self.described_weight = self.settings.objective.described_weight_at(step, self.settings.steps)
        self.own_frame = self.objective.own_frame_at(step, self.settings.steps)

    def shards(self) -> Sequence[nn.Module]:
        return [*self.model.blocks, self.model]

    def pictures(self, batch: Batch) -> Tensor:
        """The reference of each sample, (B, 16, 1, H, W), augmented or the clip's own frame where the draw says so."""
        plain, augmented = batch.conditions[PICTURE], batch.conditions[AUGMENTED]
        use, which, own = batch.conditions[CHOICE].unbind(1)  # each (B,)
        count = augmented.shape[2]
        index = (which * count).long().clamp(max=count - 1).view(-1, 1, 1, 1, 1)
        chosen = augmented.gather(2, index.expand_as(augmented[:, :, :1]))
        picture = torch.where((use < self.objective.augmented).view(-1, 1, 1, 1, 1), chosen, plain)
        return torch.where((own < self.own_frame).view(-1, 1, 1, 1, 1), batch.video[:, :, :1].to(picture), picture)

    def forward(self, batch: AnyBatch) -> Tensor:
        """The flow-matching loss of each sample (B,); of its video's tokens alone."""
        lora = self.token_lora
        references = [
            ReferenceCondition(self.pictures(part), self.config.layout, part.has_identity, lora=lora)
            for part in batch.parts
        ]
        given = [part.model_input for part in batch.parts]
        if self.reference_lora is not None and not any(bool(part.has_identity.any()) for part in batch.parts):
            # Other processes wait for this one to take part in gathering parameters and in averaging gradients.
            given[0] = given[0] + 0.0 * sum(parameter.sum() for parameter in self.reference_lora.values())
        velocities = predict_velocities(self.model, given, batch.noise_level, batch.context, references)
        errors, objective = errors_of(batch, velocities), self.settings.objective
        loss = objective.losses(errors)
        if not self.training:
            return loss
        loss = loss + self.face_losses(batch, velocities)
        loss = loss + described_loss(self.model, batch, velocities, self.described_weight)
        return loss + objective.auxiliary_losses(errors, batch)

    @property
    def token_lora(self):
        """The LoRA of reference tokens alone, as `injection` takes it."""
        if self.reference_lora is None:
            return {}
        return token_lora(self._file_tensors(dict(self.reference_lora.items())), self.config)

    def _file_tensors(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Parameters of `reference_lora` -> by their file keys, with each layer's α."""
        tensors = {_dotted(name): tensor for name, tensor in parameters.items()}
        for block in range(self.config.model_depth):
            for layer in self.config.lora.layers:
                tensors[f"{lora_key(block, layer)}.alpha"] = torch.tensor(self.config.lora.alpha)
        return tensors

    def predictor(self, batch: Batch) -> Predict:
        return predictor(self.model, batch.conditions[PICTURE], self.config.layout, self.token_lora)

    def export(self, path: str | os.PathLike, tensors: dict[str, Tensor], facts: dict) -> None:
        """Write an adapter file, in half precision, from trained tensors by parameter name."""
        if self.reference_lora is None:
            lora = exported_lora(with_prefix(tensors, "model."), self.config.lora.alpha)
        else:
            lora = self._file_tensors(with_prefix(tensors, "reference_lora."))
        save_adapter(path, STDRCAdapter(self.config, {name: t.half() for name, t in lora.items()}), facts)


def adapter_config(settings: dict, backbone: WanModel) -> AdapterConfig:
    """`AdapterConfig` from settings that need not say the backbone's width and depth."""
    values = {"model_width": backbone.config.dim, "model_depth": backbone.config.num_layers, **settings}
    return config_from_dict(AdapterConfig, values)


def _dotless(name: str) -> str:
    """A file key as the name of a parameter, which must not have dots."""
    return name.replace(".", "-")


def _dotted(name: str) -> str:
    return name.replace("-", ".")
