"""The face as the video model itself sees it: one pass at noise level 0, kept in memory or in a file."""

import comfy.ldm.wan.model
import comfy.model_management
import torch
from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ...slotid_core.reference.faces.alignment import CROP_SIZE
from ...slotid_core.systems.lynx.reference import MOST_PICTURES, PROMPT, ReferenceFeatures, read_features, side_by_side
from ..reference.latents import check_sides, encode_frames
from ..shared.files import FileKind, save_inputs, save_outputs
from ..shared.models import wan_shape
from ..shared.sources import source_files
from .paths import REFERENCES
from .types import CATEGORY, Reference

FILES = FileKind(REFERENCES, "a reference")
GREY = 0.5


class LynxEncodeReference(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LynxEncodeReference",
            display_name="Encode Lynx Reference",
            category=CATEGORY,
            description="Shows the face to the frozen video model once and keeps what each block sees.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The Wan text-to-video MODEL straight from its loader, best without LoRAs. Whatever "
                    "identity is applied to it is left out of this pass.",
                ),
                io.Vae.Input("vae", tooltip="Wan 2.1's VAE."),
                io.Clip.Input("clip", tooltip=f"Wan's text encoder; the prompt of this pass is always '{PROMPT}'."),
                io.Image.Input(
                    "reference_crop",
                    tooltip=f"The aligned face from Lynx Face Embedding, {CROP_SIZE} x {CROP_SIZE} as in training. "
                    f"Up to {MOST_PICTURES} pictures, such as moments of a clip, stand side by side.",
                ),
            ],
            outputs=[Reference.Output(display_name="reference", tooltip="For Apply Lynx and Save Lynx Reference.")],
        )

    @classmethod
    def execute(cls, model, vae, clip, reference_crop) -> io.NodeOutput:
        check_base(model)
        faces = reference_crop[:MOST_PICTURES, :, :, :3]
        check_sides("reference_crop", faces)
        pictures = (torch.full_like(faces[:1], GREY), *faces.split(1))
        latents = torch.cat([encode_frames(vae, pixels) for pixels in pictures])
        context = clip.encode_from_tokens(clip.tokenize(PROMPT)).expand(len(pictures), -1, -1)
        comfy.model_management.load_models_gpu([model])
        base, device = model.model, model.load_device
        latents = base.process_latent_in(latents).to(device)
        noise_level = torch.zeros(len(pictures), device=device)
        comfy.model_management.throw_exception_if_processing_interrupted()
        model.pre_run()
        try:
            features = read_features(
                base.diffusion_model,
                lambda: base.apply_model(latents, noise_level, c_crossattn=context.to(device), transformer_options={}),
            )
        finally:
            model.cleanup()
        if not torch.isfinite(features).all():
            raise SlotIDError("The reference pass gave NaN or infinity. Load the model in bf16 or fp8, not fp16.")
        height, width = faces.shape[1:3]
        source = {"crop": f"{width}x{height}", "pictures": len(faces)}
        return io.NodeOutput(ReferenceFeatures(side_by_side(features.cpu(), len(faces)), source))


def check_base(model) -> None:
    """Only a plain text-to-video model can see a single picture without further inputs."""
    wan_shape(model)
    transformer = model.model.diffusion_model
    if type(transformer) is not comfy.ldm.wan.model.WanModel or transformer.in_dim != 16:
        raise SlotIDError(
            f"The reference is encoded with a plain Wan 2.1 text-to-video model; this is {type(model.model).__name__} "
            f"with {transformer.in_dim} input channels. Encode it there, save it, and load it beside this model."
        )


class LynxSaveReference(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LynxSaveReference",
            display_name="Save Lynx Reference",
            category=CATEGORY,
            description="Writes the reference to models/lynx/references; about 210 MB for Wan 14B.",
            is_output_node=True,
            inputs=[
                Reference.Input("reference", tooltip="From Encode Lynx Reference."),
                *save_inputs(),
            ],
            outputs=save_outputs(),
        )

    @classmethod
    def execute(cls, reference, name, replace, consent="", picture=None) -> io.NodeOutput:
        return FILES.save(reference, name, replace, consent, picture, source_files(cls, "reference"))

    @classmethod
    def validate_inputs(cls, name=None):
        return FILES.name_is_valid(name)


class LynxLoadReference(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LynxLoadReference",
            display_name="Load Lynx Reference",
            category=CATEGORY,
            description="Reads a saved reference: no picture, VAE or extra pass is needed any more.",
            inputs=[
                FILES.input(
                    "reference_name",
                    "A file in models/lynx/references, by Save Lynx Reference and a model of this size.",
                )
            ],
            outputs=[Reference.Output(display_name="reference", tooltip="For Apply Lynx.")],
        )

    @classmethod
    def execute(cls, reference_name) -> io.NodeOutput:
        return io.NodeOutput(ReferenceFeatures.load(FILES.path(reference_name)))

    @classmethod
    def fingerprint_inputs(cls, reference_name):
        return FILES.state(reference_name)


NODES = [LynxEncodeReference, LynxSaveReference, LynxLoadReference]
