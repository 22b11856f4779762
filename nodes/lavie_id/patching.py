"""How LaVieID gets onto a ComfyUI MODEL: the adapter's LoRA on its weights, and a router at its first block, which
ComfyUI counts and moves as it does a model's weights."""

import copy
import math
import uuid
from typing import cast

import comfy.ldm.wan.model
import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from torch import nn

from ...slotid_core.errors import SlotIDError
from ...slotid_core.systems.lavie_id import LaVieIDAdapter, Person, RouterCondition, Routes, install_router
from ...slotid_core.systems.lavie_id.injection import Note
from ...slotid_core.wan.hooks.blocks import Transformer
from ...slotid_core.wan.hooks.regions import TokenRegion
from ...slotid_core.wan.region import Region
from ..shared import models
from ..shared.patching import Call, add_to_calls, install_nothing
from ..shared.regions import check_region, tokens_of_calls

ADAPTER_KEY = "lavie_id_adapter"


class HeldRouter(nn.Module):
    """A router and what it knows of one person, in the precision in which the video model computes."""

    keys: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    shown: torch.Tensor

    def __init__(self, adapter: LaVieIDAdapter, person: Person, dtype: torch.dtype):
        super().__init__()
        router = copy.deepcopy(adapter.router).cpu()
        routes = router.routes(person.tokens.float().cpu(), person.shown)
        self.router = router.to(dtype)
        for name in ("keys", "key", "value"):
            self.register_buffer(name, getattr(routes, name).to(dtype))
        self.register_buffer("shown", routes.shown)

    def condition(
        self, rows: torch.Tensor, scale: float, like: torch.Tensor, note: Note | None, region: TokenRegion | None
    ) -> RouterCondition:
        self.router.to(like.device)
        routes = Routes(self.keys, self.key, self.value, self.shown).to(self.value.to(like.device))
        return RouterCondition(self.router, routes, rows, scale, note, region)


def with_lora(model: ModelPatcher, adapter: LaVieIDAdapter, strength: float) -> ModelPatcher:
    """A clone with the adapter's LoRA; the model itself where there is nothing to apply."""
    adapter.check_model(*models.wan_shape(model))
    if not strength or not adapter.lora:
        return model
    return models.apply_lora(model, "LaVieID", adapter.lora, strength, adapter.fingerprint, ADAPTER_KEY)


def lora_warning(model: ModelPatcher, adapter: LaVieIDAdapter) -> str:
    """What a user should know about the MODEL's LoRA; "" where nothing is wrong."""
    if not adapter.lora or adapter.fingerprint in models.loras_on(model, ADAPTER_KEY):
        return ""
    return (
        f"the MODEL does not carry the LoRA of adapter {adapter.fingerprint}, with which it was trained. Likeness will "
        "suffer; put Apply LaVieID LoRA before this node."
    )


def apply_person(
    model: ModelPatcher,
    adapter: LaVieIDAdapter,
    person: Person,
    scale: float,
    start_percent: float,
    end_percent: float,
    cond_names: frozenset[str],
    note: Note | None = None,
    region: Region | None = None,
) -> ModelPatcher:
    """A clone of `model` whose first block gets the person's components in the conditionings named `cond_names`.

    Args:
        scale: times the adapter's α. 0 leaves the model bit-identical, 1 is as trained.
        start_percent, end_percent: the part of sampling in which the router acts, as core's timestep ranges.
        note: gets the logits of each pass.
        region: the part of the frame whose tokens are routed; None for all.

    Raises:
        SlotIDError: a model of another kind or size than the adapter's, or a person of another adapter.
    """
    check_base(model)
    adapter.check_model(*models.wan_shape(model))
    check_person(adapter, person)
    check_region(model, region)
    tokens = tokens_of_calls(region)
    if not scale:
        return add_to_calls(model, start_percent, end_percent, cond_names, install_nothing)
    dtype = model.model.manual_cast_dtype or model.model.get_dtype()
    held = ModelPatcher(
        HeldRouter(adapter, person, dtype).eval().requires_grad_(False),
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )

    def put_router(call: Call) -> dict:
        condition = held.model.condition(call.rows, scale, call.context, note, tokens(call))
        transformer = cast(Transformer, call.transformer)  # as `check_base` has seen
        return install_router(call.transformer_options, transformer, condition, math.prod(call.grid))

    patched = add_to_calls(model, start_percent, end_percent, cond_names, put_router)
    patched.set_additional_models(f"lavie_id_{uuid.uuid4().hex}", [held])
    return patched


def check_base(model: ModelPatcher) -> None:
    """
    Raises:
        SlotIDError: a model whose blocks see more than the video's tokens.
    """
    models.wan_shape(model)
    transformer = model.model.diffusion_model
    if type(transformer) is not comfy.ldm.wan.model.WanModel or transformer.ref_conv is not None:
        raise SlotIDError(
            f"LaVieID's router acts on the video tokens of plain Wan text-to-video and image-to-video models; this is "
            f"{type(model.model).__name__} ({type(transformer).__name__}), as VACE, Fun, camera control, Animate or "
            "HuMo, which lay their tokens out in another way. Use a plain Wan 2.1 or 2.2 MODEL."
        )


def check_person(adapter: LaVieIDAdapter, person: Person) -> None:
    """
    Raises:
        SlotIDError: the person's tokens are another adapter's.
    """
    encoder = adapter.config.encoder
    wanted = (1, adapter.router.components, encoder.num_tokens, encoder.token_width)
    if person.adapter_fingerprint != adapter.fingerprint or tuple(person.tokens.shape) != wanted:
        raise SlotIDError(
            f"The person was encoded with adapter {person.adapter_fingerprint or 'unknown'}, and this is adapter "
            f"{adapter.fingerprint}. Encode the person with this adapter."
        )
