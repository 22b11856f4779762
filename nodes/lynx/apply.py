"""Apply a person to a MODEL with a Lynx adapter."""

from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ..shared.inputs import blocks_input, conditionings_input, parse_blocks, range_inputs, strength_input
from ..shared.models import wan_shape
from ..shared.patching import CONDITIONINGS, add_to_calls, install_nothing
from ..shared.regions import region_input
from ..shared.warnings import warn
from . import patching
from .types import CATEGORY, Adapter, Face, Reference


class LynxApply(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LynxApply",
            display_name="Apply Lynx",
            category=CATEGORY,
            description="A MODEL that draws the person of a picture. Works with KSampler, with Slot-ID Guider for "
            "separate scales, and beside a Slot-ID identity.",
            inputs=[
                io.Model.Input("model", tooltip="A Wan MODEL of the adapter's size: Wan 2.1 T2V 14B, in fp8 as well."),
                Adapter.Input("adapter", tooltip="From Load Lynx Adapter."),
                Face.Input(
                    "face",
                    optional=True,
                    tooltip="From Lynx Face Embedding, for the ID layers. Leave out for Ref alone.",
                ),
                Reference.Input(
                    "reference", optional=True, tooltip="From Encode Lynx Reference, for the Ref layers, if loaded."
                ),
                strength_input(
                    "id_scale",
                    "Strength of the ID layers, 0 to 2. 1 is as trained. Lower it to 0.6 or so if the person always "
                    "faces the camera or the prompt is ignored; 0 leaves them out.",
                ),
                strength_input(
                    "ref_scale",
                    "Strength of the Ref layers, 0 to 2. 1 is as trained. Lower it if expression, light or frame of "
                    "the reference picture return; 0 leaves them out. No effect without a reference.",
                ),
                *range_inputs("Lynx", "Lower it if the face looks pasted."),
                blocks_input("have Lynx", "Wan 14B has 40."),
                conditionings_input(others="; the others get Lynx's 'nobody', as in its training"),
                region_input(),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="For any sampler, or Slot-ID Guider.")],
        )

    @classmethod
    def execute(
        cls, model, adapter, id_scale, ref_scale, start_percent, end_percent, blocks, conditionings, face=None,
        reference=None, region=None,
    ) -> io.NodeOutput:  # fmt: skip
        width, depth = wan_shape(model)
        adapter.module.check_model(width, depth)
        chosen = parse_blocks(blocks, depth)
        embedding = needed(face, adapter.module.id_layers, id_scale, "face", "ID layers")
        lacks_reference = reference is None and len(adapter.module.ref_layers) and ref_scale
        warn(cls, "Ref layers are loaded, but no reference is connected; they do nothing." if lacks_reference else "")
        reference = needed(reference, adapter.module.ref_layers, ref_scale, "reference", "Ref layers")
        names = CONDITIONINGS[conditionings]
        if embedding is None and reference is None:
            return io.NodeOutput(add_to_calls(model, start_percent, end_percent, names, install_nothing))
        if reference is not None and (reference.model_width, reference.model_depth) != (width, depth):
            raise SlotIDError(
                f"The Lynx reference was encoded with a model of width {reference.model_width} and "
                f"{reference.model_depth} blocks; this MODEL has {width} and {depth}. Encode it with one of this size."
            )
        held = adapter.branches(model, None if embedding is None else embedding.embedding, reference)
        return io.NodeOutput(
            patching.apply_lynx(model, held, id_scale, ref_scale, start_percent, end_percent, chosen, names, region)
        )


def needed(value, layers, scale: float, socket: str, title: str):
    """`value` if there are layers for it at a scale above 0, else None; what cannot be meant is an error."""
    if value is not None and not len(layers):
        raise SlotIDError(f"A {socket} is connected, but the adapter has no {title}. Load them, or disconnect it.")
    if value is None and len(layers) and socket == "face":
        raise SlotIDError(f"The adapter's {title} need a face. Connect Lynx Face Embedding, or load no {title}.")
    return value if scale else None


NODES = [LynxApply]
