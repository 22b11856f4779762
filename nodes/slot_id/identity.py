"""Identity files: save one, share it, load it anywhere the same adapter is used."""

import os

from comfy_api.latest import io, ui

from ...slotid_core.systems.slot_id import Identity as IdentityFile
from ..shared import paths
from ..shared.types import Identity

CATEGORY = "Slot-ID"


class SlotIDSaveIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDSaveIdentity",
            display_name="Save Slot-ID Identity",
            category=CATEGORY,
            description="Writes the identity to models/slotid/identities; under 2 MB even for Wan 14B.",
            is_output_node=True,
            inputs=[
                Identity.Input("identity", tooltip="From Blend."),
                io.String.Input(
                    "name",
                    default="person",
                    tooltip="File name without folder or ending: letters, digits, spaces, dots, '-' and '_'.",
                ),
                io.Boolean.Input(
                    "replace",
                    default=False,
                    tooltip="Off: a file of this name is kept and the new one numbered. On: it is replaced.",
                ),
            ],
            outputs=[io.String.Output(display_name="file_name", tooltip="The name it was saved under.")],
        )

    @classmethod
    def execute(cls, identity, name, replace) -> io.NodeOutput:
        path = paths.new_path(paths.IDENTITIES, "an identity", name, replace)
        identity.save(path)
        file_name = os.path.basename(path)
        return io.NodeOutput(file_name, ui=ui.PreviewText(f"Saved as {file_name}"))


class SlotIDLoadIdentity(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDLoadIdentity",
            display_name="Load Slot-ID Identity",
            category=CATEGORY,
            description="Reads an identity file. Neither the clip nor the adapter's encoders are needed any more.",
            inputs=[
                io.Combo.Input(
                    "identity_name",
                    options=paths.identity_names(),
                    tooltip="A file in models/slotid/identities, made by Save Identity. "
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
        identity = IdentityFile.load(paths.model_path(paths.IDENTITIES, identity_name))
        return io.NodeOutput(identity, str(identity.source.get("report", "")))

    @classmethod
    def fingerprint_inputs(cls, identity_name):
        return paths.file_state(paths.model_path(paths.IDENTITIES, identity_name))


NODES = [SlotIDSaveIdentity, SlotIDLoadIdentity]
