"""How ST-DRC gets onto a ComfyUI MODEL: the adapter's LoRA on its weights, and references in its context."""

import logging
from typing import cast

import comfy.ldm.wan.model
from comfy.model_patcher import ModelPatcher

from ...slotid_core.errors import SlotIDError
from ...slotid_core.systems.st_drc import Person, ReferenceCondition, STDRCAdapter, install_reference
from ...slotid_core.systems.st_drc.injection import EmbeddingTransformer, check_input
from ...slotid_core.wan.hooks.cache import RunCache
from ...slotid_core.wan.region import Region
from ..shared import models
from ..shared.patching import Call, add_to_calls, install_nothing
from ..shared.regions import check_region, tokens_of_calls

ADAPTER_KEY = "st_drc_adapter"
SIDE = 8  # pixels of a latent
PATCH = 2  # latents of a token, along a side


def with_lora(model: ModelPatcher, adapter: STDRCAdapter, strength: float) -> ModelPatcher:
    """A clone with the adapter's LoRA; the model itself where there is nothing to apply."""
    adapter.check_model(*models.wan_shape(model))
    if not strength or not adapter.merged_lora:
        return model
    return models.apply_lora(model, "ST-DRC", adapter.merged_lora, strength, adapter.fingerprint, ADAPTER_KEY)


def apply_reference(
    model: ModelPatcher,
    adapter: STDRCAdapter,
    person: Person,
    scale: float,
    start_percent: float,
    end_percent: float,
    cond_names: frozenset[str],
    region: Region | None = None,
) -> ModelPatcher:
    """A clone of `model` with the person's pictures in the context of the conditionings named `cond_names`.

    Args:
        scale: how far the video's self-attention takes them into account. 0 leaves the model bit-identical, 1 is as
            trained; any other value takes a second self-attention.
        start_percent, end_percent: the part of sampling in which they are there, as core's timestep ranges.
        region: the part of the frame that reads them, and that they read; None for all.

    Raises:
        SlotIDError: a model into whose tokens no reference can be put, or of another size than the adapter.
    """
    check_base(model)
    adapter.check_model(*models.wan_shape(model))
    if not scale:
        return add_to_calls(model, start_percent, end_percent, cond_names, install_nothing)
    check_region(model, region)
    tokens = tokens_of_calls(region)
    layout, lora, cache = adapter.config.layout, adapter.token_lora, RunCache()
    if lora:
        found, depth = sum(map(len, lora.values())), models.wan_shape(model)[1]
        logging.info("ST-DRC: LoRA of the reference's tokens on %d layers of self-attention in %d blocks", found, depth)
    said: set[tuple[int, int]] = set()

    def put_reference(call: Call) -> dict:
        cache.start(call.run)
        transformer = cast(EmbeddingTransformer, call.transformer)  # as `check_base` has seen
        if not layout.picture_side:  # else it was said when the node ran
            say_other_size(call.grid, person, said)
        condition = ReferenceCondition(person.latents, layout, call.rows, scale, lora, tokens(call))
        return install_reference(
            call.transformer_options, transformer, condition, call.grid, call.context, cache, "person"
        )

    return add_to_calls(model, start_percent, end_percent, cond_names, put_reference, end_of_run=cache.clear)


def say_other_size(grid: tuple[int, int, int], person: Person, said: set[tuple[int, int]]) -> None:
    """Log, once for each size of video, that the pictures have another."""
    height, width = grid[1:]
    latents = person.latents.shape[3:]
    if (height, width) in said or (height, width) == tuple(-(-side // PATCH) for side in latents):
        return
    said.add((height, width))
    logging.warning(
        "ST-DRC: the reference was encoded at %dx%d and the video is about %dx%d. It is used as it is, beside the "
        "video's tokens; the adapter was trained with references of the video's size. Encode it at that size.",
        *person.pixels, width * PATCH * SIDE, height * PATCH * SIDE,
    )  # fmt: skip


def check_base(model: ModelPatcher) -> None:
    """
    Raises:
        SlotIDError: a model whose blocks see more than the video's tokens, or whose input is another.
    """
    models.wan_shape(model)
    transformer = model.model.diffusion_model
    if type(transformer) is not comfy.ldm.wan.model.WanModel or transformer.ref_conv is not None:
        raise SlotIDError(
            f"A reference joins the tokens of plain Wan text-to-video and image-to-video models; this is "
            f"{type(model.model).__name__} ({type(transformer).__name__}), as VACE, Fun, camera control, Animate or "
            "HuMo, which lay their tokens out in another way. Use a plain Wan 2.1 or 2.2 14B MODEL."
        )
    check_input(transformer.patch_embedding)


def lora_warning(model: ModelPatcher, adapter: STDRCAdapter) -> str:
    """What a user should know about the MODEL's LoRA; "" where nothing is wrong."""
    if not adapter.merged_lora or adapter.fingerprint in models.loras_on(model, ADAPTER_KEY):
        return ""
    return (
        f"the MODEL does not carry the LoRA of adapter {adapter.fingerprint}. Without it the model does not know what "
        "a reference is; put Apply ST-DRC LoRA before this node."
    )


def picture_warning(adapter: STDRCAdapter, person: Person) -> str:
    """What a user should know about the pictures, where the adapter has a size of its own for them, as Stand-In's."""
    side, count = adapter.config.layout.picture_side, person.latents.shape[2]
    if not side or (person.pixels == (side, side) and count == 1):
        return ""
    width, height = person.pixels
    return (
        f"the person has {count} picture{'s' * (count > 1)} of {width}x{height}; this adapter was trained with one "
        f"picture of {side}x{side}. Give Encode ST-DRC Reference one picture, and set its width and height to {side}."
    )
