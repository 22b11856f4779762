"""ST-DRC on our own Wan model: the prediction with references, and what evaluation compares.

In ComfyUI the same injection is installed by the nodes.
"""

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from torch import Tensor

from ...wan import WanModel
from ...wan.guidance import Predict
from ...wan.hooks.tokens import TokenLoRA
from ...wan.lora import merge_lora
from ...wan.packing import grid_of
from ...wan.packing import predict as predict_packed
from ...wan.region import Region
from ...wan.together import Install
from ..contract import Variant
from .adapter import STDRCAdapter, load_adapter
from .config import LayoutConfig
from .injection import ReferenceCondition, install_packed, install_reference

PICTURE = "reference_picture"
AUGMENTED = "augmented_pictures"
TokenLoRAs = Mapping[int, Mapping[str, TokenLoRA]]


def predict_velocity(
    model: WanModel, noisy: Tensor, noise_level: Tensor, context: Tensor, condition: ReferenceCondition | None
) -> Tensor:
    """Noise minus latents (B, 16, T, H, W), as the model predicts it.

    Args:
        noisy: (B, 16, T, H, W) normalised latents with noise.
        noise_level: (B,) in [0, 1].
        context: (B, M, 4096) text rows; the last one is zero and stands for all padding.
        condition: references of every row of the batch; None for none.
    """
    conditions = None if condition is None else [condition]
    return predict_velocities(model, [noisy], noise_level, context, conditions)[0]


def predict_velocities(
    model: WanModel,
    noisy: Sequence[Tensor],
    noise_level: Tensor,
    context: Tensor,
    conditions: Sequence[ReferenceCondition] | None,
) -> list[Tensor]:
    """The same of B samples (1, 16, T, H, W) of any sizes, or of one batch, in one forward pass.

    Args:
        conditions: one for each of `noisy`, of one layout; None for nobody.
    """
    unshard = getattr(model, "unshard", None)
    if unshard is not None:  # under FSDP; references are embedded before the pass that would gather it
        unshard()
    like = noisy[0].to(model.patch_embedding.weight.dtype)
    options: dict = {}
    if conditions is not None and len(noisy) == 1:
        options = install_reference(options, model, conditions[0], grid_of(noisy[0]), like)
    elif conditions is not None:
        options = install_packed(options, model, conditions, [grid_of(part) for part in noisy], like)
    return predict_packed(model, noisy, noise_level, context, options)


def predictor(
    model: WanModel, pictures: Tensor | None, layout: LayoutConfig, lora: TokenLoRAs = MappingProxyType({})
) -> Predict:
    """The prediction for pictures (B, 16, R, H, W) of B people; None, or a strength of None, for nobody."""

    def predict(noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor | None) -> Tensor:
        condition = None
        if pictures is not None and strength is not None:
            condition = ReferenceCondition(pictures, layout, strength > 0, lora=lora)
        return predict_velocity(model, noisy, noise_level, context, condition)

    return predict


REQUIRED = (PICTURE,)


class LoadedAdapter:
    """An adapter file, ready for evaluation; see `contract.Adapter`."""

    required_tensors = REQUIRED

    def __init__(self, adapter: STDRCAdapter):
        self.adapter = adapter

    def person(self, conditions: Mapping[str, Tensor]) -> Tensor:
        return conditions[PICTURE]

    def prepare_model(self, model: WanModel) -> None:
        self.adapter.check_model(model.config.dim, model.config.num_layers)
        merge_lora(model, self.adapter.merged_lora)

    def predictor(self, model: WanModel, person: Tensor | None) -> Predict:
        return predictor(model, person, self.adapter.config.layout, self.adapter.token_lora)

    def install(self, model: WanModel, person: Tensor, region: Region | None = None) -> Install:
        layout, lora = self.adapter.config.layout, self.adapter.token_lora

        def install(options: dict, noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor) -> dict:
            grid, like = grid_of(noisy), noisy.to(model.patch_embedding.weight.dtype)
            tokens = None if region is None else region.tokens(grid, noisy.device)
            condition = ReferenceCondition(person, layout, strength > 0, lora=lora, region=tokens)
            return install_reference(options, model, condition, grid, like)

        return install


class STDRCInference:
    """See `contract.Inference`. `null` is the full adapter's LoRA without a reference; the others are ablations."""

    required_tensors = REQUIRED
    shipped_file = "st_drc_adapter.safetensors"
    variants = MappingProxyType(
        {
            "null": Variant("full", has_person=False),
            "no_shift": Variant("no_shift", ("adapter.layout.spatial_shift=false",)),
            "no_place": Variant("no_place", ("adapter.layout.temporal_place=false",)),
            "no_face": Variant("no_face", ("objective.own.face_weight=0.0",)),
            "no_augmentation": Variant("no_augmentation", ("objective.own.augmented=0.0",)),
            "own_attention": Variant("own_attention", ("adapter.layout.reference_attends=itself",)),
            "full": Variant("full"),
        }
    )

    def load(self, path: str | os.PathLike) -> LoadedAdapter:
        return LoadedAdapter(load_adapter(path))


INFERENCE = STDRCInference()
