"""How a person gets onto a ComfyUI MODEL, whatever draws them: a Slot-ID identity, or what another system adds.

Everything is closures on a clone. Per sampling run, a SAMPLER_SAMPLE wrapper notes which conditioning is called
what; per model call, a DIFFUSION_MODEL wrapper installs what they need on a copy of `transformer_options`. Nothing
is left on the model when a call returns, raises or is interrupted.
"""

import logging
import uuid
from collections.abc import Callable, Iterable

import comfy.ldm.wan.model
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...slotid_core.errors import SlotIDError
from ...slotid_core.systems.slot_id import Identity, SlotIDAdapter
from ...slotid_core.systems.slot_id.injection import install_identity
from ...slotid_core.wan.hooks.rows import SHARED_KEY
from ...slotid_core.wan.hooks.text_rows import count_padding

WRAPPER_KEY = "slotid_identity"
ADAPTER_KEY = "slotid_adapter"
NEGATIVE_WITH_IDENTITY = "negative with identity"
# Choice of an Apply node -> the guiders' names of the conditionings that get the person.
CONDITIONINGS = {
    "positive": frozenset({"positive", NEGATIVE_WITH_IDENTITY}),
    "positive and middle": frozenset({"positive", "middle", NEGATIVE_WITH_IDENTITY}),
}


def wan_shape(model: ModelPatcher) -> tuple[int, int]:
    """Width and number of blocks of a Wan MODEL; an error for any other kind of model."""
    transformer = model.model.diffusion_model
    speech_model = getattr(comfy.ldm.wan.model, "WanModel_S2V", ())
    if isinstance(transformer, speech_model):
        raise SlotIDError(
            "Wan 2.2 S2V runs its blocks in a way of its own, into which no person can be put. Use a Wan 2.1 or 2.2 "
            "text-to-video or image-to-video MODEL."
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


def has_identity(model: ModelPatcher) -> bool:
    return bool(model.wrappers.get(WrappersMP.DIFFUSION_MODEL, {}).get(WRAPPER_KEY))


def apply_identity(
    model: ModelPatcher,
    identity: Identity,
    strength: float,
    start_percent: float,
    end_percent: float,
    blocks: Iterable[int],
    cond_names: frozenset[str],
) -> ModelPatcher:
    """A clone of `model` that draws this identity in the conditionings named `cond_names`.

    Args:
        strength: 0 leaves the model bit-identical, 1 is as trained.
        start_percent, end_percent: the part of sampling in which the identity acts, as core's timestep ranges.
        blocks: indices of the transformer blocks that see it.
    """
    check_size(model, "identity was made", identity.model_width, identity.model_depth)
    warn_about_lora(model, identity)
    blocks = tuple(blocks)
    on_device: dict[torch.device, Identity] = {}

    def draw_identity(transformer, options, context, sigma, rows):
        row_strength = (strength * rows).to(context.device)
        if not row_strength.any():
            return options
        if context.device not in on_device:
            on_device[context.device] = identity.to(context.device, torch.float32)
        condition = on_device[context.device].condition(sigma.expand(len(rows)), row_strength)

        def padding_vector():
            return transformer.text_embedding(context.new_zeros(1, 1, context.shape[2]))

        return install_identity(options, condition, blocks, count_padding(context), padding_vector)

    return add_to_calls(model, start_percent, end_percent, cond_names, draw_identity)


def add_to_calls(
    model: ModelPatcher, start_percent: float, end_percent: float, cond_names: frozenset[str], install: Callable
) -> ModelPatcher:
    """A clone of `model` that calls `install` before each forward pass between start and end.

    Args:
        cond_names: the conditionings that show the person, by their names in the guider.
        install: (transformer, transformer_options, context, sigma, rows) -> transformer_options for this one pass;
            context (B, M, text width), sigma a float32 scalar on its device, rows (B,) 1 where the person belongs.
    """
    range_key = f"range_{uuid.uuid4().hex}"

    def note_conditionings(executor, guider, sigmas, extra_args, *args, **kwargs):
        options = extra_args["model_options"].setdefault("transformer_options", {})
        sampling = guider.inner_model.model_sampling
        options[SHARED_KEY] = {
            **options.get(SHARED_KEY, {}),
            "cond_names": name_conditionings(guider.conds),
            range_key: (sampling.percent_to_sigma(start_percent), sampling.percent_to_sigma(end_percent)),
        }
        return executor(guider, sigmas, extra_args, *args, **kwargs)

    def install_for_this_call(
        executor, x, timestep, context, clip_fea=None, time_dim_concat=None, transformer_options=None, **kwargs
    ):
        options = transformer_options or {}
        sigma = options["sigmas"].max() if "sigmas" in options else timestep.max() / 1000
        start, end = options.get(SHARED_KEY, {}).get(range_key, (1.0, 0.0))
        if end <= sigma <= start:
            rows = rows_with_identity(options, cond_names, x.shape[0])
            options = install(executor.class_obj, options, context, sigma.float().to(x.device), rows)
        return executor(x, timestep, context, clip_fea, time_dim_concat, options, **kwargs)

    patched = model.clone()
    patched.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, WRAPPER_KEY, note_conditionings)
    patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, WRAPPER_KEY, install_for_this_call)
    return patched


def name_conditionings(conds: dict[str, list[dict]]) -> dict:
    """uuid -> the guider's name for it ("positive", "negative", "middle" ...).

    ComfyUI copies an area conditioning to the opposite side together with its uuid; the copy gets its own here,
    so that a uuid means one side.
    """
    names: dict = {}
    for name, entries in conds.items():
        for entry in entries:
            if names.setdefault(entry["uuid"], name) != name:
                entry["uuid"] = uuid.uuid4()
                names[entry["uuid"]] = name
    return names


def rows_with_identity(options: dict, cond_names: frozenset[str], batch: int) -> torch.Tensor:
    """(B,) of 0 and 1. Without a note of the run, index 0 counts as the positive, as in core's CFG guider."""
    known = options.get(SHARED_KEY, {}).get("cond_names")
    if known is not None and "uuids" in options:
        chosen = [known.get(key) in cond_names for key in options["uuids"]]
    else:
        chosen = [index == 0 for index in options.get("cond_or_uncond", [0])]
    return torch.tensor(chosen, dtype=torch.float32).repeat_interleave(batch // len(chosen))


def apply_lora(model: ModelPatcher, adapter: SlotIDAdapter, strength: float) -> ModelPatcher:
    """A clone with an adapter's LoRA; every one of its modules must find its place."""
    import comfy.lora

    # Core matches a LoRA by name, and leaves out what then has another shape.
    check_size(model, "adapter was trained", adapter.config.model_width, adapter.config.model_depth)
    tensors, fingerprint = adapter.lora, adapter.fingerprint
    expected = sum(name.endswith(".lora_A.weight") for name in tensors)
    patches = comfy.lora.load_lora(tensors, comfy.lora.model_lora_keys_unet(model.model, {}), log_missing=False)
    patched = model.clone()
    matched = len(patched.add_patches(patches, strength))
    if matched != expected:
        raise SlotIDError(
            f"Only {matched} of the adapter's {expected} LoRA modules fit this MODEL. "
            "The adapter was trained for another video model; choose the one that matches."
        )
    logging.info("Slot-ID: LoRA of adapter %s on %d modules, strength %g", fingerprint, matched, strength)
    patched.set_attachments(ADAPTER_KEY, fingerprint)
    return patched


def warn_about_lora(model: ModelPatcher, identity: Identity) -> None:
    applied = model.get_attachment(ADAPTER_KEY)
    if applied != identity.adapter_fingerprint:
        state = f"carries the LoRA of adapter {applied}" if applied else "carries no adapter's LoRA"
        logging.warning(
            "Slot-ID: the identity comes from adapter %s, but the MODEL %s. Likeness will suffer; "
            "apply that adapter's LoRA first.",
            identity.adapter_fingerprint,
            state,
        )


def parse_blocks(text: str, depth: int) -> list[int]:
    """ "all", or indices and ranges such as "0-9, 20" -> sorted indices below `depth`."""
    if text.strip().lower() in ("all", ""):
        return list(range(depth))
    chosen: set[int] = set()
    for part in text.split(","):
        ends = part.strip().split("-")
        if not all(end.strip().isdigit() for end in ends) or len(ends) > 2:
            raise SlotIDError(f"{part.strip()!r} is no block or range. Write 'all', or such as '0-9, 20'.")
        chosen.update(range(int(ends[0]), int(ends[-1]) + 1))
    if not chosen or max(chosen) >= depth:
        raise SlotIDError(f"Blocks {text!r} do not lie in this model's 0 to {depth - 1}.")
    return sorted(chosen)
