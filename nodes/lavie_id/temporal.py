"""LaVieID's temporal module behind any sampler: load it, refine latents, and look at what it changed."""

from dataclasses import dataclass
from pathlib import Path

import comfy.latent_formats
import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker

from ...slotid_core.errors import SlotIDError
from ...slotid_core.systems.lavie_id.temporal import TemporalModule, load_temporal
from ...slotid_core.systems.lavie_id.temporal.chunks import check_latents
from ...slotid_core.systems.lavie_id.temporal.picture import bias_picture
from ...slotid_core.systems.lavie_id.temporal.sampled import held_bytes, refine_sampled
from ..shared.files import keep_as_new
from ..shared.inputs import strength_input
from ..shared.paths import file_state
from ..shared.progress import progress_bar
from . import temporal_paths

CATEGORY = "Slot-ID/LaVieID"
Temporal = io.Custom("LAVIEID_TEMPORAL")


@dataclass(frozen=True)
class LoadedTemporal:
    """What travels on a LAVIEID_TEMPORAL socket: the module, and ComfyUI's handle on its memory."""

    patcher: ModelPatcher

    def on_device(self, memory: int) -> TemporalModule:
        """The module moved to the compute device by ComfyUI, which makes room for it and for `memory` bytes."""
        comfy.model_management.load_models_gpu([self.patcher], memory_required=memory, force_full_load=True)
        return self.patcher.model


class LaVieIDLoadTemporal(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LaVieIDLoadTemporal",
            display_name="Load LaVieID Temporal Module",
            category=CATEGORY,
            description="Reads a temporal module, which makes frames of sampled latents agree through time.",
            inputs=[
                io.Combo.Input(
                    "module_name",
                    options=temporal_paths.module_names(),
                    tooltip="A file in models/lavie_id/temporal. One module fits Wan 2.1 1.3B, 14B and Wan 2.2 14B, "
                    "whose latents are the same. The toy world's fits its models only; random ones draw noise.",
                )
            ],
            outputs=[Temporal.Output(display_name="temporal", tooltip="For Refine Latents (LaVieID).")],
        )

    @classmethod
    def execute(cls, module_name) -> io.NodeOutput:
        patcher = ModelPatcher(
            load_temporal(temporal_paths.module_path(module_name)),
            load_device=comfy.model_management.get_torch_device(),
            offload_device=comfy.model_management.unet_offload_device(),
        )
        return io.NodeOutput(LoadedTemporal(patcher))

    @classmethod
    def fingerprint_inputs(cls, module_name):
        return file_state(temporal_paths.module_path(module_name))


class LaVieIDRefineLatents(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LaVieIDRefineLatents",
            display_name="Refine Latents (LaVieID)",
            category=CATEGORY,
            description="Makes the frames of a sampled video agree through time before it is decoded, chunk by chunk. "
            "For any sampler and any person, videos of any length.",
            inputs=[
                io.Latent.Input(
                    "samples",
                    tooltip="Latents of a video by Wan 2.1 or Wan 2.2 14B, straight from the sampler; 5 frames or "
                    "more. Latents of another model cannot always be told from these, and would be spoilt.",
                ),
                Temporal.Input("temporal", tooltip="From Load LaVieID Temporal Module."),
                strength_input(
                    "strength",
                    "0 to 2. 1 is as trained; 0 hands the latents on as they are. Raise it where frames still flicker, "
                    "lower it where movement or detail is lost.",
                ),
                io.Int.Input(
                    "chunk_frames",
                    default=0,
                    min=0,
                    max=4096,
                    tooltip="Latent frames of a chunk, 0 to 4096; each stands for 4 frames of the video. 0 is as the "
                    "module was trained. Every chunk reads the one before; the last one may be shorter. Change it for "
                    "experiments only.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="samples",
                    tooltip="For VAE Decode. The first frame is never changed; mask and all else are handed on.",
                )
            ],
        )

    @classmethod
    def execute(cls, samples, temporal, strength, chunk_frames) -> io.NodeOutput:
        if not strength:
            return io.NodeOutput(samples)
        latents = checked("samples", samples)
        module = temporal.on_device(held_bytes(temporal.patcher.model, latents, chunk_frames))
        refined = refine_sampled(module, latents, strength, chunk_frames, progress_bar())
        return io.NodeOutput(samples | {"samples": refined})


class LaVieIDRefinementPicture(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LaVieIDRefinementPicture",
            display_name="Refinement Picture (LaVieID)",
            category=CATEGORY,
            description="Shows what Refine Latents changed: rough frames before and after, and where and when.",
            inputs=[
                io.Latent.Input("before", tooltip="The latents that went into Refine Latents."),
                io.Latent.Input("after", tooltip="The latents that came out of it."),
            ],
            outputs=[
                io.Image.Output(
                    display_name="picture",
                    tooltip="Eight latent frames of the first video at most. Nothing is decoded, so it is quick and "
                    "rough; the change is in standard deviations of the latents.",
                )
            ],
        )

    @classmethod
    def execute(cls, before, after) -> io.NodeOutput:
        wan = comfy.latent_formats.Wan21()
        colours, offset = torch.tensor(wan.latent_rgb_factors), torch.tensor(wan.latent_rgb_factors_bias)
        one, other = checked("before", before), checked("after", after)
        return io.NodeOutput(bias_picture(one, other, colours, offset))


def checked(name: str, latent: dict) -> torch.Tensor:
    """The video of a LATENT.

    Raises:
        SlotIDError: it holds several kinds of latents at once, as models of sound and video have, or is no video's.
    """
    video = latent["samples"]
    if not isinstance(video, torch.Tensor):
        raise SlotIDError(
            f"{name} holds several latents at once, as models of sound and video have them. Connect latents of Wan 2.1 "
            "or of Wan 2.2 14B."
        )
    check_latents(video)
    return video


def install_trained(module: Path, name: str):
    """Put a trained module into `models/lavie_id/temporal`; it has a loader and a socket of its own."""
    target = keep_as_new(module, temporal_paths.MODULES, "a temporal module", name)
    return ExecutionBlocker(
        f"This is a temporal module: {target.name} in {target.parent}. Load it with Load LaVieID Temporal Module."
    )


NODES = [LaVieIDLoadTemporal, LaVieIDRefineLatents, LaVieIDRefinementPicture]
