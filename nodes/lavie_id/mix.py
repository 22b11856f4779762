"""People for LaVieID joined into one: references of one person, or two people by weight."""

from comfy_api.latest import io

from ...slotid_core.systems.lavie_id.mixing import merged, mixed
from ..shared.inputs import connected, second_share_input
from .types import CATEGORY, Person


class LaVieIDMergePeople(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LaVieIDMergePeople",
            display_name="Merge LaVieID People",
            category=CATEGORY,
            description="One person from several references of them. A component that one of them hides comes from the "
            "others.",
            inputs=[
                Person.Input("first", tooltip="From Encode LaVieID Person or Load LaVieID Person."),
                Person.Input("second", tooltip="The same person by other pictures, encoded with the same adapter."),
                Person.Input("third", optional=True, tooltip="A third one."),
                Person.Input("fourth", optional=True, tooltip="A fourth one."),
            ],
            outputs=[Person.Output(display_name="person", tooltip="For Apply LaVieID and Save LaVieID Person.")],
        )

    @classmethod
    def execute(cls, first, second, third=None, fourth=None) -> io.NodeOutput:
        return io.NodeOutput(merged(connected(first, second, third, fourth)))


class LaVieIDMixPeople(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LaVieIDMixPeople",
            display_name="Mix LaVieID People",
            category=CATEGORY,
            description="Somebody between two people, by weight.",
            inputs=[
                Person.Input("first", tooltip="From Encode LaVieID Person or Load LaVieID Person."),
                Person.Input("second", tooltip="Another person, encoded with the same adapter."),
                second_share_input(),
            ],
            outputs=[Person.Output(display_name="person", tooltip="For Apply LaVieID and Save LaVieID Person.")],
        )

    @classmethod
    def execute(cls, first, second, weight) -> io.NodeOutput:
        return io.NodeOutput(mixed(first, second, weight))


NODES = [LaVieIDMergePeople, LaVieIDMixPeople]
