"""Identity files: save one, share it, load it anywhere the same adapter is used."""

from comfy_api.latest import io

from ...slotid_core.systems.slot_id import Identity as IdentityFile
from ..shared.files import FileKind, save_inputs, save_outputs
from ..shared.sources import source_files
from .paths import IDENTITIES
from .types import CATEGORY, Identity

FILES = FileKind(IDENTITIES, "an identity")


class SlotIDSaveIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDSaveIdentity",
            display_name="Save Slot-ID Identity",
            category=CATEGORY,
            description="Writes the identity to models/slotid/identities; under 2 MB even for Wan 14B.",
            is_output_node=True,
            inputs=[Identity.Input("identity", tooltip="From Blend."), *save_inputs()],
            outputs=save_outputs(),
        )

    @classmethod
    def execute(cls, identity, name, replace, consent="", picture=None) -> io.NodeOutput:
        return FILES.save(identity, name, replace, consent, picture, source_files(cls, "identity"))

    @classmethod
    def validate_inputs(cls, name=None):
        return FILES.name_is_valid(name)


class SlotIDLoadIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDLoadIdentity",
            display_name="Load Slot-ID Identity",
            category=CATEGORY,
            description="Reads an identity file. Neither the clip nor the adapter's encoders are needed any more.",
            inputs=[
                FILES.input(
                    "identity_name",
                    "A file in models/slotid/identities, made by Save Identity. "
                    "It fits only the video model size that it was made for.",
                )
            ],
            outputs=[
                Identity.Output(display_name="identity", tooltip="For Apply Identity."),
                io.String.Output(display_name="report", tooltip="What was noted about the reference when it was made."),
            ],
        )

    @classmethod
    def execute(cls, identity_name) -> io.NodeOutput:
        identity = IdentityFile.load(FILES.path(identity_name))
        return io.NodeOutput(identity, str(identity.source.get("report", "")))

    @classmethod
    def fingerprint_inputs(cls, identity_name):
        return FILES.state(identity_name)


NODES = [SlotIDSaveIdentity, SlotIDLoadIdentity]
