"""Lynx's adapter: load it, and apply a person to a MODEL with it."""

import logging
from dataclasses import dataclass, field

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ...slotid_core.systems.lynx import LynxAdapter as AdapterModule
from ...slotid_core.systems.lynx import ReferenceFeatures, build_adapter
from ...slotid_core.weights import read_tensors
from ..shared import patching, paths
from ..shared.progress import progress_bar
from ..shared.types import LynxAdapter, LynxFace, LynxReference
from . import patching as lynx_patching
from . import paths as lynx_paths

CATEGORY = "Slot-ID/Lynx"
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
        held = lynx_patching.hold(model, face, features)
        self.last = (embedding, reference, dtype, held)
        return held


class LynxLoadAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        names = lynx_paths.layer_names()
        toys = [lynx_paths.TOY_FULL, lynx_paths.TOY_LITE]
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
                    options=[NONE, *names, lynx_paths.TOY_FULL],
                    default=NONE,
                    tooltip="Ref layers, for fine detail of the face; they also go with lite ID layers. 'none' is "
                    "faster and holds less to the reference picture.",
                ),
            ],
            outputs=[LynxAdapter.Output(display_name="adapter", tooltip="For Apply Lynx.")],
        )

    @classmethod
    def execute(cls, id_layers, resampler, ref_layers) -> io.NodeOutput:
        files = [
            None if path is None else read_tensors(path)[0] for path in file_paths(id_layers, resampler, ref_layers)
        ]
        module = build_adapter(resampler=files[1], id_layers=files[0], ref_layers=files[2])
        return io.NodeOutput(LoadedLynx(" + ".join(name for name in (id_layers, ref_layers) if name != NONE), module))

    @classmethod
    def fingerprint_inputs(cls, id_layers, resampler, ref_layers):
        return [path and paths.file_state(path) for path in file_paths(id_layers, resampler, ref_layers)]


def file_paths(id_layers: str, resampler: str, ref_layers: str) -> list[str | None]:
    toys = (
        (id_layers, "full_id_layers", "lite_id_layers"),
        (resampler, "full_resampler", "lite_resampler"),
        (ref_layers, "ref_layers", "ref_layers"),
    )
    return [
        None if name == NONE else lynx_paths.toy(name, full, lite) or lynx_paths.layer_path(name)
        for name, full, lite in toys
    ]


def scale_input(name: str, tooltip: str) -> io.Float.Input:
    return io.Float.Input(name, default=1.0, min=0.0, max=2.0, step=0.05, tooltip=tooltip)


class LynxApply(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LynxApply",
            display_name="Apply Lynx",
            category=CATEGORY,
            description="A MODEL that draws the person of a picture. Works with KSampler, with Slot-ID Guider for "
            "separate scales, and beside a Slot-ID identity.",
            inputs=[
                io.Model.Input("model", tooltip="A Wan MODEL of the adapter's size: Wan 2.1 T2V 14B, in fp8 as well."),
                LynxAdapter.Input("adapter", tooltip="From Load Lynx Adapter."),
                LynxFace.Input(
                    "face",
                    optional=True,
                    tooltip="From Lynx Face Embedding, for the ID layers. Leave out for Ref alone.",
                ),
                LynxReference.Input(
                    "reference", optional=True, tooltip="From Encode Lynx Reference, for the Ref layers, if loaded."
                ),
                scale_input(
                    "id_scale",
                    "Strength of the ID layers, 0 to 2. 1 is as trained. Lower it to 0.6 or so if the person always "
                    "faces the camera or the prompt is ignored; 0 leaves them out.",
                ),
                scale_input(
                    "ref_scale",
                    "Strength of the Ref layers, 0 to 2. 1 is as trained. Lower it if expression, light or frame of "
                    "the reference picture return; 0 leaves them out. No effect without a reference.",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Part of sampling at which Lynx begins, 0 to 1. Raise it to let the prompt lay out the "
                    "scene first.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Part of sampling at which Lynx ends, 0 to 1. Lower it if the face looks pasted.",
                ),
                io.String.Input(
                    "blocks",
                    default="all",
                    tooltip="Transformer blocks that have Lynx: 'all', or indices such as '0-9, 20'. Wan 14B has 40. "
                    "For experiments.",
                ),
                io.Combo.Input(
                    "conditionings",
                    options=list(patching.CONDITIONINGS),
                    default="positive",
                    tooltip="Which conditionings get the person; the others get Lynx's 'nobody', as in its training. "
                    "'positive and middle' is for DualCFGGuider only.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="For any sampler, or Slot-ID Guider.")],
        )

    @classmethod
    def execute(
        cls, model, adapter, id_scale, ref_scale, start_percent, end_percent, blocks, conditionings, face=None,
        reference=None,
    ) -> io.NodeOutput:  # fmt: skip
        width, depth = patching.wan_shape(model)
        adapter.module.check_model(width, depth)
        chosen = patching.parse_blocks(blocks, depth)
        embedding = needed(face, adapter.module.id_layers, id_scale, "face", "ID layers")
        reference = needed(reference, adapter.module.ref_layers, ref_scale, "reference", "Ref layers")
        names = patching.CONDITIONINGS[conditionings]
        if embedding is None and reference is None:
            return io.NodeOutput(patching.add_to_calls(model, start_percent, end_percent, names, unchanged))
        if reference is not None and (reference.model_width, reference.model_depth) != (width, depth):
            raise SlotIDError(
                f"The Lynx reference was encoded with a model of width {reference.model_width} and "
                f"{reference.model_depth} blocks; this MODEL has {width} and {depth}. Encode it with one of this size."
            )
        held = adapter.branches(model, None if embedding is None else embedding.embedding, reference)
        return io.NodeOutput(
            lynx_patching.apply_lynx(model, held, id_scale, ref_scale, start_percent, end_percent, chosen, names)
        )


def unchanged(transformer, options, *call):
    """A person at scale 0: the sampler nodes still find one, and the video is the base model's."""
    return options


def needed(value, layers, scale: float, socket: str, title: str):
    """`value` if there are layers for it at a scale above 0, else None; what cannot be meant is an error."""
    if value is not None and not len(layers):
        raise SlotIDError(f"A {socket} is connected, but the adapter has no {title}. Load them, or disconnect it.")
    if value is None and len(layers) and socket == "reference" and scale:
        logging.warning("Lynx: Ref layers are loaded, but no reference is connected; only the ID layers act.")
    if value is None and len(layers) and socket == "face":
        raise SlotIDError(f"The adapter's {title} need a face. Connect Lynx Face Embedding, or load no {title}.")
    return value if scale else None


NODES = [LynxLoadAdapter, LynxApply]
