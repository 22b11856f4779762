"""A person for LaVieID: components of the face in pictures, kept in memory or in a file."""

import torch
from comfy_api.latest import io

from ...slotid_core.reference.faces.alignment import ON_MISSING
from ...slotid_core.reference.portrait.components import NAMES
from ...slotid_core.reference.portrait.find_components import MOST_PICTURES, find_components
from ...slotid_core.systems.lavie_id import Person as PersonFile
from ..reference.detector import detector_input, face_detector
from ..reference.faces import as_json
from ..shared.files import FileKind, save_inputs, save_outputs
from ..shared.sources import source_files
from ..shared.warnings import warn
from . import paths
from .encode import check_needs, encode, face_embedding
from .types import CATEGORY, Adapter, Person

FILES = FileKind(paths.PEOPLE, "a person")


class LaVieIDEncodePerson(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LaVieIDEncodePerson",
            display_name="Encode LaVieID Person",
            category=CATEGORY,
            description="Finds the face in pictures of one person, cuts it into brows, eyes, mouth, nose, skin and "
            "hair, and makes tokens of each.",
            inputs=[
                Adapter.Input("adapter", tooltip="From Load LaVieID Adapter. A person fits no other adapter."),
                io.Image.Input(
                    "pictures",
                    tooltip=f"One picture of the person, or a batch of up to {MOST_PICTURES}; of these each component "
                    "is taken where it is largest. Best sharp, evenly lit and frontal, with the hair in the picture.",
                ),
                detector_input(),
                io.Combo.Input(
                    "on_missing",
                    options=list(ON_MISSING),
                    default="error",
                    tooltip="When no face is found: error stops here, skip takes the middle of the picture for it and "
                    "says so. Choose skip for drawn figures whose face the detector does not see.",
                ),
                io.Combo.Input(
                    "face_encoder",
                    options=paths.face_encoder_names(),
                    default=paths.NO_ENCODER,
                    tooltip="The network that reads who somebody is, if the adapter was trained with one: usually "
                    "facexlib's recognition_arcface_ir_se50.pth in models/facexlib; toy_world for drawn people. Choose "
                    "none if the adapter reads no face.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="clip_vision_h.safetensors, which Wan's image-to-video models use, by Load CLIP Vision. "
                    "The toy world's adapter needs none.",
                ),
                io.Combo.Input(
                    "eva_clip",
                    options=paths.eva_names(),
                    default=paths.NO_EVA,
                    optional=True,
                    tooltip="EVA02_CLIP_L_336_psz14_s6B.pt in models/clip_vision, if the adapter was trained with "
                    "ConsisID's vision network instead; none for all others.",
                ),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip=f"Another parsing in place of ours: a batch of {len(NAMES)} masks a picture, of its size, "
                    f"in the order {', '.join(NAMES)}; 1 = component, an empty mask for what is hidden. Connect them "
                    "when components in the strip are wrong.",
                ),
            ],
            outputs=[
                Person.Output(display_name="person", tooltip="For Apply LaVieID and Save LaVieID Person."),
                io.Image.Output(
                    display_name="components",
                    tooltip="What was cut out, in the order brows, eyes, mouth, nose, skin, hair; empty where hidden.",
                ),
                io.String.Output(
                    display_name="report", tooltip="JSON: detector, parsing, components shown and hidden, notes."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, adapter, pictures, detector, on_missing, face_encoder, clip_vision=None, eva_clip=paths.NO_EVA, masks=None
    ) -> io.NodeOutput:  # fmt: skip
        reads_face = bool(adapter.config.encoder.face_width)
        check_needs(adapter, clip_vision, face_encoder != paths.NO_ENCODER, eva_clip != paths.NO_EVA)
        finder = face_detector(detector)
        found = find_components(pictures, finder, adapter.config.vision.side, on_missing, masks)
        face = None
        if reads_face:
            path = paths.face_encoder_path(face_encoder)
            drawn = face_encoder == paths.TOY_ENCODER  # trained without landmarks
            face = face_embedding(pictures[..., :3], path, finder, on_missing, in_the_middle=drawn)
        tokens, shown = encode(adapter, found.components, face, clip_vision, paths.eva_path(eva_clip))
        person = PersonFile(tokens, shown, adapter.fingerprint, found.report)
        warn(cls, "\n".join(found.report["notes"]))
        strip = torch.cat(list(found.components.pictures.movedim(1, -1)), dim=1)[None]
        return io.NodeOutput(person, strip.cpu(), as_json(found.report))


class LaVieIDSavePerson(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LaVieIDSavePerson",
            display_name="Save LaVieID Person",
            category=CATEGORY,
            description="Writes the person to models/lavie_id/people; under 2 MB.",
            is_output_node=True,
            inputs=[Person.Input("person", tooltip="From Encode LaVieID Person."), *save_inputs()],
            outputs=save_outputs(),
        )

    @classmethod
    def execute(cls, person, name, replace, consent="", picture=None) -> io.NodeOutput:
        return FILES.save(person, name, replace, consent, picture, source_files(cls, "person"))

    @classmethod
    def validate_inputs(cls, name=None):
        return FILES.name_is_valid(name)


class LaVieIDLoadPerson(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LaVieIDLoadPerson",
            display_name="Load LaVieID Person",
            category=CATEGORY,
            description="Reads a saved person: neither picture nor face tools are needed any more.",
            inputs=[
                FILES.input(
                    "person_name",
                    "A file in models/lavie_id/people, by Save LaVieID Person. It fits the adapter that encoded it.",
                )
            ],
            outputs=[Person.Output(display_name="person", tooltip="For Apply LaVieID.")],
        )

    @classmethod
    def execute(cls, person_name) -> io.NodeOutput:
        return io.NodeOutput(PersonFile.load(FILES.path(person_name)))

    @classmethod
    def fingerprint_inputs(cls, person_name):
        return FILES.state(person_name)


NODES = [LaVieIDEncodePerson, LaVieIDSavePerson, LaVieIDLoadPerson]
