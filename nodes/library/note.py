"""A video that says who is in it: the person's provenance, in the metadata of the file that is saved."""

import copy

from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ...slotid_core.provenance import KEY, provenance
from ..shared.files import consent_input
from ..shared.sources import source_files
from ..shared.warnings import warn

METADATA = "slotid"  # of the video's file, beside ComfyUI's "prompt" and "workflow"


class SlotIDNotePerson(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDNotePerson",
            display_name="Note Person in Video (Slot-ID)",
            category="Slot-ID/people",
            description="The same video, whose saved file says what the person was made of, when, and who agreed.",
            inputs=[
                io.Video.Input("video", tooltip="The finished video, from Create Video."),
                io.AnyType.Input(
                    "person",
                    tooltip="The identity, reference or person that was applied, of any of the pack's systems.",
                ),
                consent_input(),
            ],
            outputs=[io.Video.Output(display_name="video", tooltip="For Save Video.")],
            hidden=[io.Hidden.prompt],
        )

    @classmethod
    def execute(cls, video, person, consent="") -> io.NodeOutput:
        source = getattr(person, "source", None)
        if not isinstance(source, dict):
            raise SlotIDError(
                f"person is {type(person).__name__}, which says nothing of where it comes from. Connect an identity, a "
                "reference or a person of one of the pack's systems."
            )
        facts = provenance(source, source_files(cls, "person"), consent)
        unknown = KEY not in source and not facts["sources"]
        warn(
            cls,
            "Nothing is known of what this person was made of: its file is of an earlier release." if unknown else "",
        )
        return io.NodeOutput(with_metadata(video, facts))


def with_metadata(video, facts: dict):
    """The same VIDEO; a file that is saved of it has these facts as well. The given one stays as it is."""
    noted = copy.copy(video)

    def save_to(path, *given, metadata: dict | None = None, **named):
        return video.save_to(path, *given, metadata={**(metadata or {}), METADATA: facts}, **named)

    noted.save_to = save_to
    return noted


NODES = [SlotIDNotePerson]
