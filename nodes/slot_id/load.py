"""Load a Slot-ID adapter."""

from dataclasses import dataclass
from pathlib import Path

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ...slotid_core.systems.slot_id import SlotIDAdapter, load_adapter
from ..shared.files import keep_as_new
from ..shared.paths import file_state
from . import paths
from .types import CATEGORY, Adapter


@dataclass(frozen=True)
class LoadedAdapter:
    """What travels on a SLOTID_ADAPTER socket: the module, and ComfyUI's handle on its memory."""

    name: str
    patcher: ModelPatcher

    @property
    def module(self) -> SlotIDAdapter:
        return self.patcher.model

    def on_device(self) -> tuple[SlotIDAdapter, torch.device]:
        """The module moved to the compute device by ComfyUI, which makes room for it."""
        comfy.model_management.load_models_gpu([self.patcher], force_full_load=True)
        return self.module, self.patcher.load_device


class SlotIDLoadAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDLoadAdapter",
            display_name="Load Slot-ID Adapter",
            category=CATEGORY,
            description="Reads an adapter: both encoders, FiLM, gate and LoRA, for one size of Wan.",
            inputs=[
                io.Combo.Input(
                    "adapter_name",
                    options=paths.adapter_names(),
                    tooltip="A file in models/slotid. It must have been trained for your video model's size: "
                    "1.3B and 14B adapters are not interchangeable.",
                )
            ],
            outputs=[Adapter.Output(display_name="adapter", tooltip="For the encoder, anchor, blend and LoRA nodes.")],
        )

    @classmethod
    def execute(cls, adapter_name) -> io.NodeOutput:
        module = load_adapter(paths.adapter_path(adapter_name))
        patcher = ModelPatcher(
            module,
            load_device=comfy.model_management.get_torch_device(),
            offload_device=comfy.model_management.unet_offload_device(),
        )
        return io.NodeOutput(LoadedAdapter(adapter_name, patcher))

    @classmethod
    def fingerprint_inputs(cls, adapter_name):
        return file_state(paths.adapter_path(adapter_name))


def install_trained(adapter: Path, name: str) -> LoadedAdapter:
    """Put a trained adapter into `models/slotid`, and load it."""
    target = keep_as_new(adapter, paths.ADAPTERS, "an adapter", name)
    return SlotIDLoadAdapter.execute(target.name).result[0]


NODES = [SlotIDLoadAdapter]
