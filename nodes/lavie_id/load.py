"""Load LaVieID's adapter."""

from pathlib import Path

from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker

from ...slotid_core.errors import SlotIDError
from ...slotid_core.systems.lavie_id import load_adapter
from ..shared.files import keep_as_new
from ..shared.paths import file_state
from . import paths
from .types import CATEGORY, Adapter


class LaVieIDLoadAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LaVieIDLoadAdapter",
            display_name="Load LaVieID Adapter",
            category=CATEGORY,
            description="Reads an adapter: a local encoder for the components of a face, and a router for one size of "
            "Wan.",
            inputs=[
                io.Combo.Input(
                    "adapter_name",
                    options=paths.adapter_names(),
                    tooltip="A file in models/lavie_id. It must have been trained for your video model's size: 1.3B "
                    "and 14B adapters are not interchangeable. The toy world's fits its MODEL only.",
                )
            ],
            outputs=[
                Adapter.Output(display_name="adapter", tooltip="For Encode LaVieID Person and Apply LaVieID."),
            ],
        )

    @classmethod
    def execute(cls, adapter_name) -> io.NodeOutput:
        adapter = load_adapter(paths.adapter_path(adapter_name))
        if adapter.lora:  # without it the person would be drawn wrongly
            raise SlotIDError(
                f"{adapter_name} was trained with a LoRA on the video model (adapter.lora), which no node applies yet. "
                "Choose an adapter without one, or train with adapter.lora null."
            )
        return io.NodeOutput(adapter)

    @classmethod
    def fingerprint_inputs(cls, adapter_name):
        return file_state(paths.adapter_path(adapter_name))


def install_trained(adapter: Path, name: str):
    """Put a trained adapter into `models/lavie_id`; it is loaded by Load LaVieID Adapter, whose socket is another."""
    target = keep_as_new(adapter, paths.ADAPTERS, "an adapter", name)
    return ExecutionBlocker(
        f"The adapter is LaVieID's: {target.name} in {target.parent}. Load it with Load LaVieID Adapter."
    )


NODES = [LaVieIDLoadAdapter]
