"""Load Lynx's adapter."""

from dataclasses import dataclass, field
from pathlib import Path

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker

from ...slotid_core.errors import SlotIDError
from ...slotid_core.systems.lynx import LynxAdapter as AdapterModule
from ...slotid_core.systems.lynx import ReferenceFeatures, read_adapter
from ..shared.files import keep_as_new
from ..shared.paths import file_state
from ..shared.progress import progress_bar
from . import patching, paths
from .types import CATEGORY, Adapter

NONE = "none"
PROJECTION_BYTES = 2**30  # one 14B layer at a time in float32, with room


@dataclass
class LoadedLynx:
    """What travels on a LYNX_ADAPTER socket: the module, its weights mapped from their files, and the last result."""

    name: str
    module: AdapterModule
    last: tuple = field(default_factory=tuple)

    def branches(
        self, model: ModelPatcher, embedding: torch.Tensor | None, reference: ReferenceFeatures | None
    ) -> ModelPatcher:
        """Keys and values for `model`; kept, so that another scale or range does not project again."""
        dtype = model.model.manual_cast_dtype or model.model.get_dtype()
        if self.last and self.last[0] is embedding and self.last[1] is reference and self.last[2] == dtype:
            return self.last[3]
        device = comfy.model_management.get_torch_device()
        comfy.model_management.free_memory(PROJECTION_BYTES, device)
        face, features = {}, {}
        if embedding is not None:
            nobody_and_person = torch.cat([torch.zeros_like(embedding), embedding])
            face = self.module.face_branches(nobody_and_person.to(device), progress_bar())
        if reference is not None:
            features = self.module.reference_branches(reference.features, progress_bar(), device)
        for branch in (*face.values(), *features.values()):
            if not (torch.isfinite(branch.key).all() and torch.isfinite(branch.value).all()):
                raise SlotIDError(f"Lynx adapter {self.name!r} gives NaN or infinity. Download its files again.")
        held = patching.hold(model, face, features)
        self.last = (embedding, reference, dtype, held)
        return held


class LynxLoadAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        names, toys = paths.layer_names(), paths.toy_names()
        return io.Schema(
            node_id="LynxLoadAdapter",
            display_name="Load Lynx Adapter",
            category=CATEGORY,
            description="Reads Lynx's files, as ByteDance published them or repacked; which variant is told by them.",
            inputs=[
                io.Combo.Input(
                    "id_layers",
                    options=[*names, *toys, NONE],
                    tooltip="ID layers, in models/lynx: ip_layers (full or lite). They carry the likeness. 'none' for "
                    "a Ref adapter alone. The toy world's fit its MODEL only.",
                ),
                io.Combo.Input(
                    "resampler",
                    options=[*names, *toys, NONE],
                    tooltip="The resampler of the same variant as the ID layers; the two variants do not mix.",
                ),
                io.Combo.Input(
                    "ref_layers",
                    options=[NONE, *names, *(name for name in toys if name != paths.TOY_LITE)],
                    default=NONE,
                    tooltip="Ref layers, for fine detail of the face; they also go with lite ID layers. 'none' is "
                    "faster and holds less to the reference picture.",
                ),
            ],
            outputs=[Adapter.Output(display_name="adapter", tooltip="For Apply Lynx.")],
        )

    @classmethod
    def execute(cls, id_layers, resampler, ref_layers) -> io.NodeOutput:
        layers, face, references = file_paths(id_layers, resampler, ref_layers)
        module = read_adapter(face, layers, references)
        return io.NodeOutput(LoadedLynx(" + ".join(name for name in (id_layers, ref_layers) if name != NONE), module))

    @classmethod
    def fingerprint_inputs(cls, id_layers, resampler, ref_layers):
        return [path and file_state(path) for path in file_paths(id_layers, resampler, ref_layers)]


def file_paths(id_layers: str, resampler: str, ref_layers: str) -> list[str | None]:
    toys = (
        (id_layers, "full_id_layers", "lite_id_layers"),
        (resampler, "full_resampler", "lite_resampler"),
        (ref_layers, "ref_layers", "ref_layers"),
    )
    return [
        None if name == NONE else paths.toy(name, full, lite) or paths.layer_path(name) for name, full, lite in toys
    ]


def install_trained(adapter: Path, name: str) -> ExecutionBlocker:
    """Put a trained adapter into `models/lynx`; it is loaded by Load Lynx Adapter, whose socket is another."""
    target = keep_as_new(adapter, paths.LAYERS, "an adapter", name)
    return ExecutionBlocker(f"The adapter is Lynx's: {target.name} in {target.parent}. Load it with Load Lynx Adapter.")


NODES = [LynxLoadAdapter]
