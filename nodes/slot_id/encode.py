"""Encode a reference: pictures to latents through the VAE, and latents to streams through the adapter's encoders."""

from dataclasses import dataclass

import torch
from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ...slotid_core.reference.decode.rate import at_rate
from ...slotid_core.systems.slot_id.pictures import slot_colours, slot_heat_map, slots_over_frames
from ...slotid_core.systems.slot_id.stream import IdentityStream
from ...slotid_core.wan.vae import normalize_latents
from ..reference.latents import encode_reference, scaled_to
from ..reference.video import CATEGORY as REFERENCE_CATEGORY
from ..shared.progress import progress_bar
from ..shared.seen import Told, clip_file, hex_colour, show, with_ui
from ..shared.warnings import warn
from .load import LoadedAdapter
from .types import CATEGORY, Adapter, Stream


class SlotIDEncodeReference(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDEncodeReference",
            display_name="Encode Reference (Slot-ID)",
            category=REFERENCE_CATEGORY,
            description="Face clip and portrait to latents, through Wan 2.1's VAE.",
            inputs=[
                io.Vae.Input(
                    "vae", tooltip="Wan 2.1's VAE (16 channels); Wan 2.2 14B uses it too, the 5B's does not fit."
                ),
                io.Image.Input("face_clip", tooltip="4n+1 square frames from Track Face; a remainder is cut off."),
                io.Image.Input("portrait", tooltip="One picture from Select Portrait; of several, the first is used."),
                Adapter.Input(
                    "adapter",
                    optional=True,
                    tooltip="Scales both to the sizes in pixels that this adapter was trained on, and takes the clip's "
                    "frames at its rate, if fps is known. Connect it always.",
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=1000.0,
                    step=1.0,
                    optional=True,
                    tooltip="Frames per second of the face clip, 0 to 1000; 0 is unknown, and every frame is taken. "
                    "Connect fps of the node that read the clip. The frames nearest in time to the adapter's rate are "
                    "encoded, so that movement has the speed that the adapter learnt.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="clip_latent", tooltip="(1, 16, n+1, height/8, width/8)"),
                io.Latent.Output(display_name="portrait_latent", tooltip="(1, 16, 1, height/8, width/8)"),
            ],
        )

    @classmethod
    def execute(cls, vae, face_clip, portrait, adapter=None, fps=0.0) -> io.NodeOutput:
        if adapter is not None:
            trained = adapter.module.config
            clip = at_rate(face_clip, fps, trained.reads_at, trained.reference_frames)
            warn(cls, "\n".join(clip.warnings) if trained.encoder else "")
            face_clip = scaled_to("face_clip", clip.frames, trained.reference_size)
            portrait = scaled_to("portrait", portrait, trained.portrait_size)
        clip_latent, portrait_latent = encode_reference(vae, face_clip, portrait, progress_bar())
        return io.NodeOutput({"samples": clip_latent}, {"samples": portrait_latent})


SEEN_SIDE = 256  # pixels of a heat map that lies over nothing


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


def unlike_training(what: str, latents: torch.Tensor, size: int, frames: int) -> str:
    """How latents (1, 16, T, H, W) differ from what the adapter learnt from, a line each; "" where they do not."""
    time, height, width = latents.shape[2:]
    width, height, found = 8 * width, 8 * height, 4 * (time - 1) + 1
    lines = []
    if (width, height) != (size, size):
        lines.append(
            f"The {what} has {width} x {height} pixels, where the adapter learnt from {size} x {size}. Connect the "
            "adapter to Encode Reference, which then scales to that."
        )
    if found == 1 < frames:
        lines.append("The clip is a single frame, which does not show how the person moves.")
    elif found != frames:
        lines.append(f"The {what} has {found} frames, where the adapter learnt from {frames}.")
    return "\n".join(lines)


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
                io.Image.Input(
                    "face_clip",
                    optional=True,
                    tooltip="The face clip that clip_latent is of, to be shown under the heat map in the node. It "
                    "changes nothing else.",
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
    def execute(cls, adapter, clip_latent, face_clip=None) -> io.NodeOutput:
        module, device = adapter.on_device()
        if module.encoder is None:
            raise SlotIDError(f"Adapter {adapter.name!r} has no temporal encoder. Use the Image Anchor node alone.")
        latents = to_wan_latents(clip_latent["samples"], device)
        warn(cls, unlike_training("clip", latents, module.config.reference_size, module.config.reference_frames))
        stream = module.encoder(latents)
        slots = EncodedStream("slots", module.fingerprint, stream)
        output = io.NodeOutput(slots, slot_heat_map(stream.assignment))
        return with_ui(output, slots_seen(stream.assignment, face_clip))


def slots_seen(assignment: torch.Tensor, frames: torch.Tensor | None) -> Told:
    """Which slot (1, S, T', H', W') reads which part of the clip; over grey where there are no frames."""
    count, time = assignment.shape[1:3]
    title = "Which slot reads which part of the clip, stronger where it reads most."
    if frames is None or not torch.isfinite(frames).all():
        frames = torch.full((4 * (time - 1) + 1, SEEN_SIDE, SEEN_SIDE, 3), 0.3)
        title += " Connect face_clip to see it over the clip."
    legend = [[f"slot {slot}", hex_colour(colour)] for slot, colour in enumerate(slot_colours(count).tolist())]
    return show("clip", title=title, clip=clip_file(slots_over_frames(assignment, frames), 0.0), legend=legend)


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
        warn(cls, unlike_training("portrait", latents, module.config.portrait_size, 1))
        return io.NodeOutput(EncodedStream("anchors", module.fingerprint, module.anchor(latents)))


NODES = [SlotIDEncodeReference, SlotIDTemporalEncoder, SlotIDImageAnchor]
