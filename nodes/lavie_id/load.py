"""Load LaVieID's adapter, and put its LoRA on a MODEL."""

from pathlib import Path

from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker

from ...slotid_core.systems.lavie_id import load_adapter
from ..shared.files import keep_as_new
from ..shared.inputs import strength_input
from ..shared.paths import file_state
from ..shared.warnings import warn
from . import patching, paths
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
                Adapter.Output(
                    display_name="adapter",
                    tooltip="For Encode LaVieID Person and Apply LaVieID, and Apply LaVieID LoRA if it has a LoRA.",
                ),
            ],
        )

    @classmethod
    def execute(cls, adapter_name) -> io.NodeOutput:
        return io.NodeOutput(load_adapter(paths.adapter_path(adapter_name)))

    @classmethod
    def fingerprint_inputs(cls, adapter_name):
        return file_state(paths.adapter_path(adapter_name))


class LaVieIDApplyLoRA(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LaVieIDApplyLoRA",
            display_name="Apply LaVieID LoRA",
            category=CATEGORY,
            description="Puts the adapter's LoRA on any Wan MODEL: GGUF, fp8, or already patched. It stays on where "
            "there is no person, as in training. For Wan 2.2, use one node for each expert.",
            inputs=[
                io.Model.Input("model", tooltip="A Wan 2.1 or 2.2 MODEL of the adapter's size."),
                Adapter.Input("adapter", tooltip="From Load LaVieID Adapter."),
                strength_input(
                    "lora_strength",
                    "0 to 2. 1 is as trained, 0 applies nothing. Lower it only if the base's own look is lost.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="For Apply LaVieID.")],
        )

    @classmethod
    def execute(cls, model, adapter, lora_strength) -> io.NodeOutput:
        missing = lora_strength and not adapter.lora
        warn(cls, "This adapter was trained without a LoRA; here nothing is applied." if missing else "")
        return io.NodeOutput(patching.with_lora(model, adapter, lora_strength))


def install_trained(adapter: Path, name: str):
    """Put a trained adapter into `models/lavie_id`; it is loaded by Load LaVieID Adapter, whose socket is another."""
    target = keep_as_new(adapter, paths.ADAPTERS, "an adapter", name)
    return ExecutionBlocker(
        f"The adapter is LaVieID's: {target.name} in {target.parent}. Load it with Load LaVieID Adapter."
    )


NODES = [LaVieIDLoadAdapter, LaVieIDApplyLoRA]
