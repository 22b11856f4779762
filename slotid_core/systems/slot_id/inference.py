"""Slot-ID on our own Wan model: the prediction with an identity in it, and what evaluation compares.

In ComfyUI the same injection is installed by the nodes.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor

from ...wan import WanModel
from ...wan.guidance import Predict
from ...wan.lora import merge_lora
from ...wan.packing import grid_of
from ...wan.packing import predict as predict_packed
from ...wan.region import Region
from ...wan.together import Install
from ..contract import Variant
from .adapter import SlotIDAdapter, load_adapter
from .identity import TENSORS, Identity
from .injection import install_identity
from .mixing import mixed


def predict_velocity(
    model: WanModel,
    noisy: Tensor,
    noise_level: Tensor,
    context: Tensor,
    identity: Identity | None = None,
    strength: Tensor | None = None,
    token_mask: Tensor | None = None,
    gate: Tensor | None = None,
) -> Tensor:
    """Noise minus latents (B, 16, T, H, W), as the model predicts it; arguments as of `predict_velocities`."""
    return predict_velocities(model, [noisy], noise_level, context, identity, strength, token_mask, gate)[0]


def predict_velocities(
    model: WanModel,
    noisy: Sequence[Tensor],
    noise_level: Tensor,
    context: Tensor,
    identity: Identity | None = None,
    strength: Tensor | None = None,
    token_mask: Tensor | None = None,
    gate: Tensor | None = None,
) -> list[Tensor]:
    """Noise minus latents, as the model predicts it, in the shapes of `noisy`.

    Args:
        noisy: normalised latents with noise: one batch (B, 16, T, H, W), or B samples (1, 16, T, H, W) of any sizes.
        noise_level: (B,) in [0, 1].
        context: (B, M, 4096) text rows; the last one is zero and stands for all padding.
        identity: of every row of the batch, or one for all.
        strength: (B,), 0 where a row has no identity; None for all with it.
        token_mask: (B, N) of 0 and 1, identity tokens kept.
        gate: (B,) in place of the identity's schedule, as `Identity.condition` has it.
    """
    padding_row = context.shape[1] - 1
    options: dict = {}
    if identity is not None:
        strength = torch.ones_like(noise_level) if strength is None else strength
        condition = identity.condition(noise_level, strength, token_mask, gate)
        options = install_identity(options, condition, range(model.config.num_layers), padding_row=padding_row)
    return predict_packed(model, noisy, noise_level, context, options)


def predictor(model: WanModel, identity: Identity | None) -> Predict:
    """`predict_velocity` for one identity, where a strength of None means nobody."""

    def predict(noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor | None) -> Tensor:
        return predict_velocity(model, noisy, noise_level, context, None if strength is None else identity, strength)

    return predict


FACTORS = 62  # of a drawn person, as the toy world counts them


class LoadedAdapter:
    """An adapter file, ready for evaluation; see `contract.Adapter`."""

    def __init__(self, module: SlotIDAdapter):
        self.module = module
        self.required_tensors = module.config.required_tensors

    def person(self, conditions: Mapping[str, Tensor]) -> Identity:
        return self.module(*(conditions[name] for name in self.required_tensors))

    def prepare_model(self, model: WanModel) -> None:
        merge_lora(model, self.module.lora)

    def predictor(self, model: WanModel, person: Identity | None) -> Predict:
        return predictor(model, person)

    def mixed(self, first: Identity, second: Identity, weight: float) -> Identity:
        return mixed(first, second, weight)

    def some(self, person: Identity, part: slice) -> Identity:
        return replace(person, **{name: getattr(person, name)[part] for name in TENSORS})

    def install(self, model: WanModel, person: Identity, region: Region | None = None) -> Install:
        def install(options: dict, noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor) -> dict:
            tokens = None if region is None else region.tokens(grid_of(noisy), noisy.device)
            condition = replace(person.condition(noise_level, strength), region=tokens)
            blocks, padding_row = range(model.config.num_layers), context.shape[1] - 1
            return install_identity(options, condition, blocks, padding_row=padding_row, transformer=model)

        return install


class SlotIDInference:
    """See `contract.Inference`. `null` is the full adapter's LoRA without anybody; `oracle` is told who a drawn person
    is.
    """

    required_tensors = ("reference", "portrait")
    shipped_file = "adapter.safetensors"
    variants = MappingProxyType(
        {
            "null": Variant("full", has_person=False),
            "oracle": Variant(
                "oracle",
                (
                    "adapter.anchor=null",
                    "adapter.encoder.architecture=factors",
                    f"adapter.encoder.latent_channels={FACTORS}",
                    "adapter.encoder.width=512",
                ),
            ),
            "mean_latent": Variant("mean_latent", ("adapter.anchor=null", "adapter.encoder.architecture=mean_latent")),
            "anchor": Variant("anchor", ("adapter.encoder=null",)),
            "slots": Variant("slots", ("adapter.anchor=null",)),
            "full": Variant("full"),
        }
    )

    def load(self, path: str | os.PathLike) -> LoadedAdapter:
        return LoadedAdapter(load_adapter(path))


INFERENCE = SlotIDInference()
