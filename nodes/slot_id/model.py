"""MODEL nodes: a Wan model with an adapter's LoRA, and a person applied to it."""

import comfy.sd
import torch
from comfy_api.latest import io

from ..shared.inputs import blocks_input, conditionings_input, parse_blocks, range_inputs, strength_input
from ..shared.models import wan_shape
from ..shared.patching import CONDITIONINGS
from ..shared.paths import file_names, model_path
from ..shared.regions import region_input
from ..shared.warnings import warn
from . import patching
from .types import Adapter, Identity

CATEGORY = "Slot-ID/model"
WEIGHT_DTYPES = {
    "default": {},
    "fp8_e4m3fn": {"dtype": torch.float8_e4m3fn},
    "fp8_e4m3fn_fast": {"dtype": torch.float8_e4m3fn, "fp8_optimizations": True},
    "fp8_e5m2": {"dtype": torch.float8_e5m2},
}


def lora_strength_input(optional: bool = False) -> io.Float.Input:
    return strength_input(
        "lora_strength",
        "Strength of the adapter's LoRA, 0 to 2. 1 is as trained; 0 leaves the base model exactly as it is.",
        optional,
    )


class SlotIDLoadWanModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDLoadWanModel",
            display_name="Load Wan Model (Slot-ID)",
            category=CATEGORY,
            description="Loads a Wan diffusion model, with an adapter's LoRA if one is connected.",
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=file_names("diffusion_models"),
                    tooltip="A Wan 2.1 or 2.2 file in models/diffusion_models. For GGUF, use its own loader and then "
                    "Apply Slot-ID LoRA.",
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=list(WEIGHT_DTYPES),
                    default="default",
                    tooltip="Precision of the base weights in memory. fp8 halves 14B to about 14 GB at a small loss.",
                ),
                Adapter.Input("adapter", optional=True, tooltip="Its LoRA is applied. Leave out for the bare model."),
                lora_strength_input(optional=True),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="For Apply Identity, or any sampler.")],
        )

    @classmethod
    def execute(cls, model_name, weight_dtype, adapter=None, lora_strength=1.0) -> io.NodeOutput:
        path = model_path("diffusion_models", model_name)
        model = comfy.sd.load_diffusion_model(path, model_options=dict(WEIGHT_DTYPES[weight_dtype]))
        wan_shape(model)
        return io.NodeOutput(with_lora(model, adapter, lora_strength))


class SlotIDApplyLoRA(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDApplyLoRA",
            display_name="Apply Slot-ID LoRA",
            category=CATEGORY,
            description="Puts an adapter's LoRA on any Wan MODEL: GGUF, fp8, or already patched. "
            "For Wan 2.2, use one node for each expert.",
            inputs=[
                io.Model.Input("model", tooltip="A Wan 2.1 or 2.2 MODEL of the adapter's size."),
                Adapter.Input("adapter", tooltip="The loaded Slot-ID adapter."),
                lora_strength_input(),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="For Apply Identity.")],
        )

    @classmethod
    def execute(cls, model, adapter, lora_strength) -> io.NodeOutput:
        return io.NodeOutput(with_lora(model, adapter, lora_strength))


def with_lora(model, adapter, strength: float):
    """The model itself where there is nothing to apply."""
    if adapter is None or not adapter.module.lora or strength == 0:
        return model
    return patching.apply_lora(model, adapter.module, strength)


class SlotIDApplyIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDApplyIdentity",
            display_name="Apply Slot-ID Identity",
            category=CATEGORY,
            description="A MODEL that draws this person. Works with KSampler and every other sampler node.",
            inputs=[
                io.Model.Input("model", tooltip="A Wan MODEL, best with the adapter's LoRA."),
                Identity.Input("identity", tooltip="From Blend or Load Identity."),
                strength_input(
                    "strength",
                    "0 to 2. 1 is as trained, 0 is exactly the incoming MODEL. Lower it if the face is stiff "
                    "or the prompt is ignored; raise it a little if the likeness is weak.",
                ),
                *range_inputs("the identity", "Lower it if texture looks pasted."),
                blocks_input("see the identity", "Wan 1.3B has 30, 14B has 40."),
                conditionings_input(dual_guider=", whose second conditioning is the middle one"),
                region_input(),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="For any sampler, or Slot-ID Guider.")],
        )

    @classmethod
    def execute(
        cls, model, identity, strength, start_percent, end_percent, blocks, conditionings, region=None
    ) -> io.NodeOutput:
        _, depth = wan_shape(model)
        chosen, names = parse_blocks(blocks, depth), CONDITIONINGS[conditionings]
        patched = patching.apply_identity(model, identity, strength, start_percent, end_percent, chosen, names, region)
        warn(cls, patching.lora_warning(model, identity) if strength else "")
        return io.NodeOutput(patched)


NODES = [SlotIDLoadWanModel, SlotIDApplyLoRA, SlotIDApplyIdentity]
