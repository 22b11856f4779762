"""A Slot-ID adapter's LoRA, and an identity, on a ComfyUI MODEL."""

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...slotid_core.systems.slot_id import Identity, SlotIDAdapter
from ...slotid_core.systems.slot_id.injection import install_identity
from ...slotid_core.wan.hooks.blocks import Transformer
from ...slotid_core.wan.hooks.text_rows import count_padding
from ...slotid_core.wan.region import Region
from ..shared import models
from ..shared.patching import Call, add_to_calls, install_nothing
from ..shared.regions import check_region, tokens_of_calls

ADAPTER_KEY = "slotid_adapter"


def apply_identity(
    model: ModelPatcher,
    identity: Identity,
    strength: float,
    start_percent: float,
    end_percent: float,
    blocks: Iterable[int],
    cond_names: frozenset[str],
    region: Region | None = None,
) -> ModelPatcher:
    """A clone of `model` that draws this identity in the conditionings named `cond_names`.

    Args:
        strength: 0 leaves the model bit-identical, 1 is as trained.
        start_percent, end_percent: the part of sampling in which the identity acts, as core's timestep ranges.
        blocks: indices of the transformer blocks that see it.
        region: the part of the frame that shows it; None for all.
    """
    check_region(model, region)
    models.check_size(model, "identity was made", identity.model_width, identity.model_depth)
    if not strength:
        return add_to_calls(model, start_percent, end_percent, cond_names, install_nothing)
    blocks, tokens = tuple(blocks), tokens_of_calls(region)
    on_device: dict[torch.device, Identity] = {}

    def draw_identity(call: Call) -> dict:
        device = call.context.device
        row_strength = (strength * call.rows).to(device)
        if not row_strength.any():
            return call.transformer_options
        if device not in on_device:
            on_device[device] = identity.to(device, torch.float32)
        condition = on_device[device].condition(call.sigma.expand(len(call.rows)), row_strength)
        condition = replace(condition, region=tokens(call))

        def padding_vector() -> Tensor:
            models.check_rows_apart(call.transformer, identity.num_tokens)
            return call.transformer.text_embedding(call.context.new_zeros(1, 1, call.context.shape[2]))

        padding = count_padding(call.context)
        transformer = cast(Transformer, call.transformer)  # as `check_size` has seen
        return install_identity(
            call.transformer_options, condition, blocks, padding, padding_vector, transformer=transformer
        )

    return add_to_calls(model, start_percent, end_percent, cond_names, draw_identity)


def apply_lora(model: ModelPatcher, adapter: SlotIDAdapter, strength: float) -> ModelPatcher:
    """A clone with an adapter's LoRA."""
    # Core matches a LoRA by name, and leaves out what then has another shape.
    models.check_size(model, "adapter was trained", adapter.config.model_width, adapter.config.model_depth)
    return models.apply_lora(model, "Slot-ID", adapter.lora, strength, adapter.fingerprint, ADAPTER_KEY)


def lora_warning(model: ModelPatcher, identity: Identity) -> str:
    """What a user should know about the MODEL's LoRA and this identity; "" where nothing is wrong."""
    applied = models.loras_on(model, ADAPTER_KEY)
    if identity.adapter_has_lora is False or identity.adapter_fingerprint in applied:
        return ""
    state = f"carries the LoRA of adapter {', '.join(applied)}" if applied else "carries no adapter's LoRA"
    condition = "" if identity.adapter_has_lora else " if that adapter has one, which this identity does not say"
    return (
        f"the identity comes from adapter {identity.adapter_fingerprint}, but the MODEL {state}. Likeness will suffer"
        f"{condition}; apply that adapter's LoRA first."
    )
