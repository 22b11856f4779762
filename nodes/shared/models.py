"""Which video model a MODEL holds, and LoRA tensors on it."""

import logging
from collections.abc import Mapping

import comfy.ldm.wan.model
import torch
from comfy.model_patcher import ModelPatcher

from ...slotid_core.errors import SlotIDError
from ...slotid_core.wan.model import TEXT_ROWS


def wan_shape(model: ModelPatcher) -> tuple[int, int]:
    """Width and number of blocks of a Wan MODEL; an error for any other kind of model."""
    transformer = model.model.diffusion_model
    speech_model = getattr(comfy.ldm.wan.model, "WanModel_S2V", ())
    if isinstance(transformer, speech_model):
        raise SlotIDError(
            "Wan 2.2 S2V runs its blocks in a way of its own, into which no person can be put. Use a Wan 2.1 or 2.2 "
            "text-to-video or image-to-video MODEL."
        )
    if hasattr(transformer, "init_kv_caches"):  # its sampler calls the blocks past every hook
        raise SlotIDError(
            "A causal Wan MODEL draws a video piece by piece, in a way into which no person can be put. Use a Wan 2.1 "
            "or 2.2 text-to-video or image-to-video MODEL."
        )
    if not isinstance(transformer, comfy.ldm.wan.model.WanModel):
        raise SlotIDError(
            f"This node needs a Wan 2.1 or 2.2 MODEL; it got {type(model.model).__name__}. "
            "Load a Wan diffusion model and connect it here."
        )
    return transformer.dim, len(transformer.blocks)


def check_size(model: ModelPatcher, made: str, width: int, depth: int) -> None:
    """An error unless the MODEL has this width and depth; `made` is what has them, and the verb."""
    found = wan_shape(model)
    if (width, depth) != found:
        raise SlotIDError(
            f"This {made} for a video model of width {width} with {depth} blocks, but the MODEL has width {found[0]} "
            f"and {found[1]} blocks. Use the adapter of this model (Wan 1.3B: 1536 × 30, 14B: 5120 × 40)."
        )


def check_rows_apart(transformer: torch.nn.Module, num_rows: int) -> None:
    """An error for models whose blocks take the batch as it is, where a prompt leaves no room for `num_rows` rows.

    Rows of the batch then run a block apart, and HuMo's blocks hold the audio of all of them, Animate 2's the poses.
    """
    is_humo = isinstance(transformer, getattr(comfy.ldm.wan.model, "HumoWanModel", ()))
    if is_humo or attends_by_frame(transformer):
        kind = "a HuMo" if is_humo else "an Animate 2"
        raise SlotIDError(
            f"The prompt leaves no room for {num_rows} tokens of the identity, and {kind} MODEL cannot take more rows. "
            f"Shorten the prompt to {TEXT_ROWS - num_rows} tokens."
        )


def attends_by_frame(transformer: torch.nn.Module) -> bool:
    """Whether a block computes its self-attention frame by frame, each beside its pose, as Wan Animate 2 does."""
    return hasattr(type(transformer), "rope_encode_pose")


def check_attention(model: ModelPatcher) -> None:
    """An error for models whose self-attention cannot be told from the attention to the prompt."""
    if attends_by_frame(model.model.diffusion_model):
        raise SlotIDError(
            "Wan Animate 2 computes its self-attention frame by frame, so that no branch can join it. Use a Wan 2.1 or "
            "2.2 text-to-video or image-to-video MODEL, VACE or camera control."
        )


def apply_lora(
    model: ModelPatcher, system: str, tensors: Mapping[str, torch.Tensor], strength: float, fingerprint: str, key: str
) -> ModelPatcher:
    """A clone with an adapter's LoRA, every module of which must match a layer.

    Args:
        system: title of the system, for the log.
        tensors: by the keys that ComfyUI's own LoRA loader reads.
        fingerprint: of the adapter. It is added to those that are attached to the MODEL under `key`.
    """
    import comfy.lora

    applied = loras_on(model, key)
    if fingerprint in applied:
        raise SlotIDError(
            f"The LoRA of adapter {fingerprint} is on this MODEL already; twice, both strengths would add up. Remove "
            "one of the nodes that apply it, or the adapter at Load Wan Model."
        )
    expected = sum(name.endswith(".lora_A.weight") for name in tensors)
    patches = comfy.lora.load_lora(dict(tensors), comfy.lora.model_lora_keys_unet(model.model, {}), log_missing=False)
    patched = model.clone()
    matched = len(patched.add_patches(patches, strength))
    if matched != expected:
        raise SlotIDError(
            f"Only {matched} of the adapter's {expected} LoRA modules fit this MODEL. "
            "The adapter was trained for another video model; choose the one that matches."
        )
    logging.info("%s: LoRA of adapter %s on %d modules, strength %g", system, fingerprint, matched, strength)
    patched.set_attachments(key, (*applied, fingerprint))
    return patched


def loras_on(model: ModelPatcher, key: str) -> tuple[str, ...]:
    """Fingerprints of the adapters whose LoRA `apply_lora` has put on this MODEL."""
    return model.get_attachment(key) or ()
