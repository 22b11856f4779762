"""Load ST-DRC's adapter, and put its LoRA on a MODEL."""

from pathlib import Path

from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker

from ...slotid_core.systems.st_drc import load_adapter
from ..shared.files import keep_as_new
from ..shared.paths import file_state
from ..shared.warnings import warn
from . import patching, paths
from .types import CATEGORY, Adapter


class STDRCLoadAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="STDRCLoadAdapter",
            display_name="Load ST-DRC Adapter",
            category=CATEGORY,
            description="Reads an adapter: a LoRA for one size of Wan, and how the reference stands beside the video. "
            "Stand-In's published weights are read as well; what a file is, is told by its tensors.",
            inputs=[
                io.Combo.Input(
                    "adapter_name",
                    options=paths.adapter_names(),
                    tooltip="A file in models/st_drc; Stand-In's also in models/loras. It must have been trained for "
                    "your video model's size: 1.3B and 14B adapters are not interchangeable. The toy world's fits its "
                    "MODEL only.",
                )
            ],
            outputs=[
                Adapter.Output(
                    display_name="adapter",
                    tooltip="For Apply ST-DRC LoRA and Apply ST-DRC; Stand-In's needs the latter alone.",
                ),
            ],
        )

    @classmethod
    def execute(cls, adapter_name) -> io.NodeOutput:
        return io.NodeOutput(load_adapter(paths.adapter_path(adapter_name)))

    @classmethod
    def fingerprint_inputs(cls, adapter_name):
        return file_state(paths.adapter_path(adapter_name))


class STDRCApplyLoRA(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="STDRCApplyLoRA",
            display_name="Apply ST-DRC LoRA",
            category=CATEGORY,
            description="Puts the adapter's LoRA on any Wan MODEL: GGUF, fp8, or already patched. It stays on where "
            "there is no reference, as in training. For Wan 2.2, use one node for each expert.",
            inputs=[
                io.Model.Input("model", tooltip="A Wan 2.1 or 2.2 MODEL of the adapter's size."),
                Adapter.Input("adapter", tooltip="From Load ST-DRC Adapter."),
                io.Float.Input(
                    "lora_strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="0 to 2. 1 is as trained, 0 applies nothing. Lower it only if the base's own look is lost.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="For Apply ST-DRC.")],
        )

    @classmethod
    def execute(cls, model, adapter, lora_strength) -> io.NodeOutput:
        apart = bool(lora_strength) and not adapter.merged_lora
        warn(
            cls,
            "This adapter changes the reference's tokens alone, which Apply ST-DRC does; here nothing is applied."
            if apart
            else "",
        )
        return io.NodeOutput(patching.with_lora(model, adapter, lora_strength))


def install_trained(adapter: Path, name: str):
    """Put a trained adapter into `models/st_drc`; it is loaded by Load ST-DRC Adapter, whose socket is another."""
    target = keep_as_new(adapter, paths.ADAPTERS, "an adapter", name)
    return ExecutionBlocker(
        f"The adapter is ST-DRC's: {target.name} in {target.parent}. Load it with Load ST-DRC Adapter."
    )


NODES = [STDRCLoadAdapter, STDRCApplyLoRA]
