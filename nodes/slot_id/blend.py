"""The gate over sampling, and the two streams joined under it into an identity."""

import torch
from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ...slotid_core.systems.slot_id.gate import FAMILIES, GateSchedule
from ...slotid_core.systems.slot_id.pictures import plot_gate
from ..shared.inputs import fraction_input
from .types import CATEGORY, Adapter, Gate, Identity, Stream


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
                fraction_input(
                    "low",
                    0.0,
                    "w when the video is finished (t = 0), 0 to 1. Raise it to keep the portrait to the end.",
                ),
                fraction_input(
                    "high", 1.0, "w at pure noise (t = 1), 0 to 1. Lower it if the portrait's pose or light leaks in."
                ),
                fraction_input(
                    "midpoint",
                    0.5,
                    "Sigmoid only: noise level of the hand-over, 0 to 1. Higher is earlier in sampling.",
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


NODES = [SlotIDGateSchedule, SlotIDBlend]
