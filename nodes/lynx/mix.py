"""Faces and references for Lynx joined into one: several pictures of one person, or two people by weight."""

import json

import torch
from comfy_api.latest import io

from ...slotid_core.reference.faces.mean_face import mean_face
from ...slotid_core.systems.lynx.mixing import check_faces, merged_references, mixed_face
from ..reference.faces import as_json
from ..shared.inputs import connected, second_share_input
from ..shared.warnings import warn
from .face import EmbeddedFace
from .types import CATEGORY, Face, Reference


class LynxMergeFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LynxMergeFaces",
            display_name="Merge Lynx Faces",
            category=CATEGORY,
            description="One face from several pictures or clips of the same person: the mean of their embeddings.",
            inputs=[
                Face.Input("first", tooltip="From Lynx Face Embedding."),
                Face.Input("second", tooltip="The same person in another picture or clip, by the same face_encoder."),
                Face.Input("third", optional=True, tooltip="A third picture or clip of the person."),
                Face.Input("fourth", optional=True, tooltip="A fourth picture or clip of the person."),
            ],
            outputs=[Face.Output(display_name="face", tooltip="For Apply Lynx.")],
        )

    @classmethod
    def execute(cls, first, second, third=None, fourth=None) -> io.NodeOutput:
        faces = connected(first, second, third, fourth)
        check_faces([one.embedding for one in faces])
        mean = mean_face(torch.cat([one.embedding for one in faces]))
        if mean.left_out:
            told = ", ".join(f"face {place + 1} (cosine {cosine:.2f})" for place, cosine in mean.left_out.items())
            warn(cls, f"Too little like the others, and left out: {told}. Is somebody else in the picture?")
        report = {"merged": reports(faces), "agreement": round(mean.agreement, 3)}
        return io.NodeOutput(EmbeddedFace(mean.vector[None], as_json(report)))


class LynxMixFaces(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LynxMixFaces",
            display_name="Mix Lynx Faces",
            category=CATEGORY,
            description="Somebody between two people, by weight. For ID layers alone: a reference shows one person.",
            inputs=[
                Face.Input("first", tooltip="From Lynx Face Embedding."),
                Face.Input("second", tooltip="Another person, by the same face_encoder."),
                second_share_input(),
            ],
            outputs=[
                Face.Output(display_name="face", tooltip="For Apply Lynx without a reference, which shows one of them.")
            ],
        )

    @classmethod
    def execute(cls, first, second, weight) -> io.NodeOutput:
        report = {"mixed": reports([first, second]), "weight": weight}
        return io.NodeOutput(EmbeddedFace(mixed_face(first.embedding, second.embedding, weight), as_json(report)))


class LynxMergeReferences(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LynxMergeReferences",
            display_name="Merge Lynx References",
            category=CATEGORY,
            description="References of one person, saved or encoded, as one: their pictures stand side by side.",
            inputs=[
                Reference.Input("first", tooltip="From Encode Lynx Reference or Load Lynx Reference."),
                Reference.Input("second", tooltip="The same person in another picture, encoded by the same MODEL."),
                Reference.Input("third", optional=True, tooltip="A third reference; of at most four pictures in all."),
                Reference.Input("fourth", optional=True, tooltip="A fourth reference."),
            ],
            outputs=[Reference.Output(display_name="reference", tooltip="For Apply Lynx and Save Lynx Reference.")],
        )

    @classmethod
    def execute(cls, first, second, third=None, fourth=None) -> io.NodeOutput:
        return io.NodeOutput(merged_references(connected(first, second, third, fourth)))


def reports(faces: list[EmbeddedFace]) -> list:
    return [json.loads(face.report) for face in faces]


NODES = [LynxMergeFaces, LynxMixFaces, LynxMergeReferences]
