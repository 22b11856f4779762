"""The face as Lynx's ID layers know it: aligned by five landmarks and embedded by IR-SE50."""

from dataclasses import dataclass

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ...slotid_core.reference.faces.alignment import ON_MISSING, align_face
from ...slotid_core.reference.faces.face_encoder import FILE_NAME, load_face_encoder
from ...slotid_core.reference.faces.mean_face import MeanFace, mean_face
from ...slotid_core.reference.portrait.faces_of_clip import MOST, best_faces
from ...slotid_core.systems.lynx.reference import MOST_PICTURES
from ..reference.detector import detector_input, face_detector
from ..reference.faces import as_json
from ..shared.paths import file_state
from ..shared.progress import progress_bar
from ..shared.warnings import warn
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
                io.Image.Input(
                    "image",
                    tooltip="One picture of the person, best frontal, sharp and evenly lit. Or the frames of a clip: "
                    "its best moments are found.",
                ),
                io.Combo.Input(
                    "face_encoder",
                    options=paths.face_encoder_names(),
                    tooltip=f"facexlib's {FILE_NAME} in models/facexlib: the only one whose embeddings the published "
                    "Lynx understands. toy_world knows drawn people and fits their adapter, toy_world_random fits "
                    "the random one.",
                ),
                detector_input(),
                io.Combo.Input(
                    "on_missing",
                    options=list(ON_MISSING),
                    default="error",
                    tooltip="When no face is found: error stops here, skip takes the middle of the picture and says so "
                    "in the report. Choose skip for figures that no detector knows.",
                ),
                io.Int.Input(
                    "moments",
                    default=8,
                    min=1,
                    max=MOST,
                    optional=True,
                    tooltip=f"Of a clip: of how many of its best moments the embedding is the mean, 1 to {MOST}. "
                    "Moments that resemble the others too little are left out. No effect on one picture.",
                ),
                io.Int.Input(
                    "reference_pictures",
                    default=MOST_PICTURES,
                    min=1,
                    max=MOST_PICTURES,
                    optional=True,
                    tooltip="Of a clip: how many of its best moments go to Encode Lynx Reference, side by side, 1 to "
                    f"{MOST_PICTURES}. Each costs a step as much as one picture does.",
                ),
            ],
            outputs=[
                Face.Output(display_name="face", tooltip="For Apply Lynx."),
                io.Image.Output(
                    display_name="reference_crop",
                    tooltip="The face with some room, 256 x 256, for Encode Lynx Reference; of a clip, several.",
                ),
                io.Image.Output(display_name="aligned_face", tooltip="What the face encoder saw, 112 x 112: upright?"),
                io.String.Output(
                    display_name="report",
                    tooltip="JSON: detector, size of the face, notes; of a clip, which moments were taken or left out.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, image, face_encoder, detector, on_missing, moments=8, reference_pictures=MOST_PICTURES
    ) -> io.NodeOutput:
        finder, drawn = face_detector(detector), face_encoder == paths.TOY_ENCODER
        if len(image) > 1 or drawn:
            found = best_faces(image, finder, moments, on_missing, in_the_middle=drawn, progress=progress_bar())
            faces, report = found.faces, found.report
        else:
            found, faces = None, (align_face(image, finder, on_missing),)
            report = faces[0].report
        encoder = ModelPatcher(
            load_face_encoder(paths.face_encoder_path(face_encoder)),
            load_device=comfy.model_management.get_torch_device(),
            offload_device=comfy.model_management.unet_offload_device(),
        )
        comfy.model_management.load_models_gpu([encoder], force_full_load=True)
        crops = torch.stack([face.embedding_crop for face in faces])
        embeddings = encoder.model(crops.permute(0, 3, 1, 2).to(encoder.load_device) * 2 - 1).cpu()
        mean = mean_face(embeddings)
        kept = [faces[place] for place in mean.kept]
        if found is not None:
            report = of_mean(report, mean, found.frames)
            warn(cls, "\n".join(report["notes"]))
        told = as_json(report)
        return io.NodeOutput(
            EmbeddedFace(embeddings if len(faces) == 1 else mean.vector[None], told),
            torch.stack([face.reference_crop for face in kept[:reference_pictures]]),
            torch.stack([face.embedding_crop for face in kept]),
            told,
        )

    @classmethod
    def fingerprint_inputs(cls, face_encoder, **others):
        return file_state(paths.face_encoder_path(face_encoder))


def of_mean(report: dict, mean: MeanFace, frames: tuple[int, ...]) -> dict:
    """The report of a clip with what its embedding is the mean of, and a note on what was left out."""
    left_out = {frames[place]: round(cosine, 3) for place, cosine in sorted(mean.left_out.items())}
    notes = list(report["notes"])
    if left_out:
        told = ", ".join(f"frame {frame} ({cosine:.2f})" for frame, cosine in left_out.items())
        notes.append(
            f"{len(left_out)} of {len(frames)} moments resemble the others too little and are left out: {told}, as "
            "cosines with the mean. Look whether somebody else is in the clip."
        )
    embedding = {
        "kept": [frames[place] for place in mean.kept], "left_out": left_out, "agreement": round(mean.agreement, 3),
    }  # fmt: skip
    return report | {"embedding": embedding, "notes": notes}


NODES = [LynxFaceEmbedding]
