"""Adapter nodes: load it, and turn reference latents into streams, and streams into an identity."""

import logging
from dataclasses import dataclass

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ...slotid_core.systems.slot_id import SlotIDAdapter, load_adapter
from ...slotid_core.systems.slot_id.gate import FAMILIES, GateSchedule
from ...slotid_core.systems.slot_id.pictures import plot_gate, slot_heat_map
from ...slotid_core.systems.slot_id.stream import IdentityStream
from ...slotid_core.wan.vae import normalize_latents
from ..shared import paths
from ..shared.types import Adapter, Gate, Identity, Stream

CATEGORY = "Slot-ID"


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


@dataclass(frozen=True)
class EncodedStream:
    """What travels on a SLOTID_STREAM socket: a stream, which of the two it is, and whose it is."""

    kind: str  # "slots" or "anchors"
    adapter_fingerprint: str
    stream: IdentityStream

    def checked(self, kind: str, adapter: LoadedAdapter) -> IdentityStream:
        """The stream, if it is of this kind and was made by this adapter."""
        if self.kind != kind:
            raise SlotIDError(
                f"Blend's socket {kind!r} got {self.kind}. Connect the Temporal Encoder to 'slots' and the Image "
                "Anchor to 'anchors'."
            )
        if self.adapter_fingerprint != adapter.module.fingerprint:
            raise SlotIDError(
                f"The {kind} were made by another adapter ({self.adapter_fingerprint}) than the one at Blend, "
                f"{adapter.name} ({adapter.module.fingerprint}). Connect the same adapter to all nodes."
            )
        return self.stream


def to_wan_latents(samples: torch.Tensor, device: torch.device) -> torch.Tensor:
    """VAE output -> latents with Wan's per-channel mean and std taken out, as the video model sees them."""
    if samples.dim() != 5 or samples.shape[1] != 16:
        raise SlotIDError(
            f"The reference latent has shape {tuple(samples.shape)}; needed is (1, 16, T, H, W), as the Wan 2.1 VAE "
            "gives it. Encode the reference with that VAE (Wan 2.2 14B uses it too; the 5B's VAE does not fit)."
        )
    if samples.shape[0] != 1:
        raise SlotIDError(f"One reference at a time: the latent holds a batch of {samples.shape[0]}.")
    return normalize_latents(samples.float()).to(device)


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
        return paths.file_state(paths.adapter_path(adapter_name))


class SlotIDTemporalEncoder(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDTemporalEncoder",
            display_name="Slot-ID Temporal Encoder",
            category=CATEGORY,
            description="Reads how the person looks and moves: reference-clip latents to identity slots.",
            inputs=[
                Adapter.Input("adapter", tooltip="The loaded Slot-ID adapter."),
                io.Latent.Input(
                    "clip_latent",
                    tooltip="The face clip, encoded with the Wan 2.1 VAE: (1, 16, T, H, W). "
                    "Best at the size and length that the adapter was trained on.",
                ),
            ],
            outputs=[
                Stream.Output(display_name="slots", tooltip="Identity slots, for Blend."),
                io.Image.Output(
                    display_name="assignment",
                    tooltip="Heat map, one picture per latent frame: which part of the clip each slot reads.",
                ),
            ],
        )

    @classmethod
    def execute(cls, adapter, clip_latent) -> io.NodeOutput:
        module, device = adapter.on_device()
        if module.encoder is None:
            raise SlotIDError(f"Adapter {adapter.name!r} has no temporal encoder. Use the Image Anchor node alone.")
        latents = to_wan_latents(clip_latent["samples"], device)
        if latents.shape[2] == 1 and module.config.reference_frames > 1:
            logging.warning("Slot-ID: the clip is a single frame, which does not show how the person moves.")
        stream = module.encoder(latents)
        return io.NodeOutput(EncodedStream("slots", module.fingerprint, stream), slot_heat_map(stream.assignment))


class SlotIDImageAnchor(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDImageAnchor",
            display_name="Slot-ID Image Anchor",
            category=CATEGORY,
            description="Reads the portrait: a clean, scene-free anchor that speaks early in sampling.",
            inputs=[
                Adapter.Input("adapter", tooltip="The loaded Slot-ID adapter."),
                io.Latent.Input(
                    "portrait_latent",
                    tooltip="The portrait on a neutral background, encoded with the Wan 2.1 VAE: (1, 16, 1, H, W).",
                ),
            ],
            outputs=[Stream.Output(display_name="anchors", tooltip="Image-anchor tokens, for Blend.")],
        )

    @classmethod
    def execute(cls, adapter, portrait_latent) -> io.NodeOutput:
        module, device = adapter.on_device()
        if module.anchor is None:
            raise SlotIDError(f"Adapter {adapter.name!r} has no image anchor. Use the Temporal Encoder node alone.")
        latents = to_wan_latents(portrait_latent["samples"], device)
        if latents.shape[2] != 1:
            raise SlotIDError(
                f"The portrait is one picture, but this latent has {latents.shape[2]} frames. Connect portrait_latent "
                "of Encode Reference here, and clip_latent to the Temporal Encoder."
            )
        return io.NodeOutput(EncodedStream("anchors", module.fingerprint, module.anchor(latents)))


class SlotIDGateSchedule(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDGateSchedule",
            display_name="Slot-ID Gate Schedule",
            category=CATEGORY,
            description="w(t): how much the portrait (w) and the clip (1 - w) speak at each noise level t. "
            "Optional; without it the gate that the adapter was trained with is used.",
            inputs=[
                io.Combo.Input(
                    "family",
                    options=list(FAMILIES),
                    default="cosine",
                    tooltip="Shape of the hand-over. 'constant' stays at high; 'points' draws through those below.",
                ),
                io.Float.Input(
                    "low",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="w when the video is finished (t = 0), 0 to 1. Raise it to keep the portrait to the end.",
                ),
                io.Float.Input(
                    "high",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="w at pure noise (t = 1), 0 to 1. Lower it if the portrait's pose or light leaks in.",
                ),
                io.Float.Input(
                    "midpoint",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Sigmoid only: noise level of the hand-over, 0 to 1. Higher is earlier in sampling.",
                ),
                io.Float.Input(
                    "steepness",
                    default=10.0,
                    min=0.5,
                    max=100.0,
                    step=0.5,
                    tooltip="Sigmoid only: speed of the hand-over, 0.5 to 100. 10 takes about half of sampling.",
                ),
                io.String.Input(
                    "points",
                    default="0:0, 0.5:0.3, 1:1",
                    tooltip="'points' only: noise level:w pairs, both 0 to 1, w never falling as noise rises.",
                ),
                io.Float.Input(
                    "shift",
                    default=1.0,
                    min=1.0,
                    max=20.0,
                    step=0.5,
                    tooltip="1 to 20. At 1 the curve is over the noise level; at the flow shift that you sample with "
                    "(Wan: 3 to 8), over the steps. Raise it if the clip says too little of who it is.",
                ),
            ],
            outputs=[
                Gate.Output(display_name="gate", tooltip="For Blend."),
                io.Image.Output(display_name="plot", tooltip="w and 1 - w over sampling, noise on the left."),
            ],
        )

    @classmethod
    def execute(cls, family, low, high, midpoint, steepness, points, shift) -> io.NodeOutput:
        parsed = parse_points(points) if family == "points" else ()
        gate = GateSchedule(family, low, high, midpoint, steepness, parsed, shift)
        return io.NodeOutput(gate, plot_gate(gate))


def parse_points(text: str) -> tuple[tuple[float, float], ...]:
    """ "0:0, 1:0.8" -> ((0.0, 0.0), (1.0, 0.8))."""
    try:
        return tuple(tuple(float(value) for value in pair.split(":")) for pair in text.split(",") if pair.strip())
    except ValueError:
        raise SlotIDError(
            f"The gate's points {text!r} cannot be read. Write pairs such as '0:0, 0.5:0.3, 1:1'."
        ) from None


class SlotIDBlend(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDBlend",
            display_name="Slot-ID Blend",
            category=CATEGORY,
            description="Joins slots and anchors under the gate into an identity that is complete in itself.",
            inputs=[
                Adapter.Input("adapter", tooltip="The adapter that made the streams."),
                Stream.Input(
                    "slots", optional=True, tooltip="From the Temporal Encoder. Leave out to use the portrait alone."
                ),
                Stream.Input(
                    "anchors", optional=True, tooltip="From the Image Anchor. Leave out to use the clip alone."
                ),
                Gate.Input("gate", optional=True, tooltip="From Gate Schedule. Without it, the adapter's own gate."),
                io.Combo.Input(
                    "gate_mode",
                    options=["as trained", "paper", "lerp_to_padding"],
                    default="as trained",
                    optional=True,
                    tooltip="How the gate acts on tokens. 'paper' scales them; 'lerp_to_padding' fades them out of the "
                    "attention. Change it only to experiment: the adapter was trained with one of them.",
                ),
                io.String.Input(
                    "report",
                    optional=True,
                    force_input=True,
                    tooltip="Facts about the reference, from Face Track; kept in the identity file for people to read.",
                ),
            ],
            outputs=[Identity.Output(display_name="identity", tooltip="For Apply Identity and Save Identity.")],
        )

    @classmethod
    def execute(
        cls, adapter, slots=None, anchors=None, gate=None, gate_mode="as trained", report=None
    ) -> io.NodeOutput:
        slots = slots and slots.checked("slots", adapter)
        anchors = anchors and anchors.checked("anchors", adapter)
        module, _ = adapter.on_device()
        identity = module.identity(
            slots, anchors, gate, None if gate_mode == "as trained" else gate_mode, source={"report": report or ""}
        )
        return io.NodeOutput(identity.to(torch.device("cpu"), torch.float32))


NODES = [SlotIDLoadAdapter, SlotIDTemporalEncoder, SlotIDImageAnchor, SlotIDGateSchedule, SlotIDBlend]
