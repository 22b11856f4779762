"""Identities joined into one: clips of one person, or two people by weight."""

from comfy_api.latest import io

from ...slotid_core.systems.slot_id.mixing import merged, mixed
from ..shared.inputs import connected, second_share_input
from .types import CATEGORY, Identity


class SlotIDMergeIdentities(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDMergeIdentities",
            display_name="Merge Slot-ID Identities",
            category=CATEGORY,
            description="One identity from several clips or portraits of the same person. All count alike.",
            inputs=[
                Identity.Input("first", tooltip="From Slot-ID Blend or Load Slot-ID Identity."),
                Identity.Input("second", tooltip="The same person from another clip, by the same adapter."),
                Identity.Input("third", optional=True, tooltip="A third clip of the person."),
                Identity.Input("fourth", optional=True, tooltip="A fourth clip of the person."),
            ],
            outputs=[Identity.Output(display_name="identity", tooltip="For Apply and Save Slot-ID Identity.")],
        )

    @classmethod
    def execute(cls, first, second, third=None, fourth=None) -> io.NodeOutput:
        return io.NodeOutput(merged(connected(first, second, third, fourth)))


class SlotIDMixIdentities(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDMixIdentities",
            display_name="Mix Slot-ID Identities",
            category=CATEGORY,
            description="Somebody between two people, by weight.",
            inputs=[
                Identity.Input("first", tooltip="From Slot-ID Blend or Load Slot-ID Identity."),
                Identity.Input("second", tooltip="Another person, encoded by the same adapter."),
                second_share_input(),
            ],
            outputs=[Identity.Output(display_name="identity", tooltip="For Apply and Save Slot-ID Identity.")],
        )

    @classmethod
    def execute(cls, first, second, weight) -> io.NodeOutput:
        return io.NodeOutput(mixed(first, second, weight))


NODES = [SlotIDMergeIdentities, SlotIDMixIdentities]
