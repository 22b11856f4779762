"""Apply a person to a MODEL with a LaVieID adapter."""

from comfy_api.latest import io

from ..shared.inputs import conditionings_input, range_inputs, strength_input
from ..shared.patching import CONDITIONINGS
from ..shared.regions import region_input
from ..shared.warnings import warn
from . import patching
from .types import CATEGORY, Adapter, Person


class LaVieIDApply(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LaVieIDApply",
            display_name="Apply LaVieID",
            category=CATEGORY,
            description="A MODEL that draws the person of the pictures. Works with KSampler, with Slot-ID Guider for "
            "separate scales, and with context windows.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="A plain Wan text-to-video or image-to-video MODEL of the adapter's size, with the "
                    "adapter's LoRA if it has one.",
                ),
                Adapter.Input("adapter", tooltip="From Load LaVieID Adapter: the one that encoded the person."),
                Person.Input("person", tooltip="From Encode LaVieID Person or Load LaVieID Person."),
                strength_input(
                    "scale",
                    "How far components refine the video's tokens, 0 to 2: times α of the paper. 1 is as trained, 0 is "
                    "exactly the incoming MODEL. Lower it if the face looks pasted or the prompt is ignored.",
                ),
                *range_inputs("the router", "Lower it if texture looks pasted."),
                conditionings_input(),
                region_input(),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="For any sampler, or Slot-ID Guider.")],
        )

    @classmethod
    def execute(
        cls, model, adapter, person, scale, start_percent, end_percent, conditionings, region=None
    ) -> io.NodeOutput:
        patched = patching.apply_person(
            model, adapter, person, scale, start_percent, end_percent, CONDITIONINGS[conditionings], region=region
        )
        warn(cls, patching.lora_warning(model, adapter) if scale else "")
        return io.NodeOutput(patched)


NODES = [LaVieIDApply]
