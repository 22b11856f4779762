"""Apply a person to a MODEL with an ST-DRC adapter."""

from comfy_api.latest import io

from ..shared.inputs import conditionings_input, range_inputs, strength_input
from ..shared.patching import CONDITIONINGS
from ..shared.regions import region_input
from ..shared.warnings import warn
from . import patching
from .types import CATEGORY, Adapter, Person


class STDRCApply(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="STDRCApply",
            display_name="Apply ST-DRC",
            category=CATEGORY,
            description="A MODEL that draws the person of the pictures. Works with KSampler, with Slot-ID Guider for "
            "separate scales, and with context windows.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="A plain Wan text-to-video or image-to-video MODEL, with the LoRA; for Stand-In Wan 2.1 "
                    "T2V 14B as it is.",
                ),
                Adapter.Input("adapter", tooltip="From Load ST-DRC Adapter."),
                Person.Input("person", tooltip="From Encode ST-DRC Reference or Load ST-DRC Person."),
                strength_input(
                    "scale",
                    "How far the video attends to the pictures, 0 to 2. 1 is as trained, 0 is exactly the incoming "
                    "MODEL. Lower it if the picture's layout returns; any value but 0 and 1 takes longer.",
                ),
                *range_inputs("the reference", "Lower it if texture looks pasted."),
                conditionings_input(),
                region_input(),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="For any sampler, or Slot-ID Guider.")],
        )

    @classmethod
    def execute(
        cls, model, adapter, person, scale, start_percent, end_percent, conditionings, region=None
    ) -> io.NodeOutput:
        patched = patching.apply_reference(
            model, adapter, person, scale, start_percent, end_percent, CONDITIONINGS[conditionings], region
        )
        said = (patching.lora_warning(model, adapter), patching.picture_warning(adapter, person)) if scale else ()
        warn(cls, "\n".join(filter(None, said)))
        return io.NodeOutput(patched)


NODES = [STDRCApply]
