"""The face as Lynx's ID layers know it: aligned by five landmarks and embedded by IR-SE50."""

from dataclasses import dataclass

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ...slotid_core.reference.faces.alignment import ON_MISSING, align_face
from ...slotid_core.reference.faces.face_encoder import FILE_NAME, load_face_encoder
from ..reference.detector import detector_input, face_detector
from ..reference.faces import as_json
from ..shared.paths import file_state
from . import paths
from .types import CATEGORY, Face


@dataclass(frozen=True)
class EmbeddedFace:
    """What travels on a LYNX_FACE socket: embedding (1, 512) of length 1, and how it was made."""

    embedding: torch.Tensor
    report: str


class LynxFaceEmbedding(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LynxFaceEmbedding",
            display_name="Lynx Face Embedding",
            category=CATEGORY,
            description="Finds the largest face of a picture and reads who it is, with the network that Lynx knows.",
            inputs=[
                io.Image.Input("image", tooltip="One picture of the person, best frontal, sharp and evenly lit."),
                io.Combo.Input(
                    "face_encoder",
                    options=paths.face_encoder_names(),
                    tooltip=f"facexlib's {FILE_NAME} in models/facexlib: the only one whose embeddings the published "
                    "Lynx understands. The toy world's is random and fits its toy adapter only.",
                ),
                detector_input(),
                io.Combo.Input(
                    "on_missing",
                    options=list(ON_MISSING),
                    default="error",
                    tooltip="When no face is found: error stops here, skip takes the middle of the picture and says so "
                    "in the report. Choose skip for drawn faces.",
                ),
            ],
            outputs=[
                Face.Output(display_name="face", tooltip="For Apply Lynx."),
                io.Image.Output(
                    display_name="reference_crop",
                    tooltip="The face with some room, 256 x 256, for Encode Lynx Reference.",
                ),
                io.Image.Output(display_name="aligned_face", tooltip="What the face encoder saw, 112 x 112: upright?"),
                io.String.Output(display_name="report", tooltip="JSON: detector, size of the face, notes."),
            ],
        )

    @classmethod
    def execute(cls, image, face_encoder, detector, on_missing) -> io.NodeOutput:
        aligned = align_face(image, face_detector(detector), on_missing)
        encoder = ModelPatcher(
            load_face_encoder(paths.face_encoder_path(face_encoder)),
            load_device=comfy.model_management.get_torch_device(),
            offload_device=comfy.model_management.unet_offload_device(),
        )
        comfy.model_management.load_models_gpu([encoder], force_full_load=True)
        crop = aligned.embedding_crop.permute(2, 0, 1)[None] * 2 - 1
        embedding = encoder.model(crop.to(encoder.load_device)).cpu()
        report = as_json(aligned.report)
        return io.NodeOutput(
            EmbeddedFace(embedding, report), aligned.reference_crop[None], aligned.embedding_crop[None], report
        )

    @classmethod
    def fingerprint_inputs(cls, face_encoder, **others):
        return file_state(paths.face_encoder_path(face_encoder))


NODES = [LynxFaceEmbedding]
