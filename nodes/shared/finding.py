"""How nodes are found and shown: words that the search knows them by, and inputs that are folded away at first.

ComfyUI has both since 0.4: `search_aliases` of a schema and `advanced` of an input. Before, aliases are left out, and
an option that the page does not know does nothing.
"""

import functools
from dataclasses import fields

from comfy_api.latest import io

# What most people look for, and where they should begin or end.
MAIN = ("likeness", "consistent character", "identity", "same person", "reference video")
MAIN_NODES = ("LoadReferenceVideo", "FaceEmbedding", "CropFace", "EncodePerson", "STDRCEncode", "Apply", "LoadIdentity",
              "LoadPerson", "LoadReference")  # fmt: skip
# What somebody types who does not know the node's name, by the words that its id holds; the first that fits counts.
WORDS = {
    "LoadReferenceVideo": ("reference video", "reference clip", "load video", "best moment"),
    "FaceTrack": ("face detection", "face tracking", "crop face", "follow face", "reference video"),
    "SelectPortrait": ("portrait", "best frame", "remove background", "reference picture"),
    "ReferenceReport": ("quality", "check reference", "sharpness", "pose coverage"),
    "LoadToyWorld": ("demo", "example", "tiny model", "test without download"),
    "Likeness": ("likeness", "face similarity", "facesim", "arcface", "score", "judge"),
    "BestOfSeeds": ("likeness", "choose video", "best seed", "pick", "score"),
    "Region": ("several people", "two characters", "mask", "regional", "area"),
    "Guider": ("cfg", "guidance", "dual cfg", "identity guidance"),
    "RefineGuidance": ("apg", "projected guidance", "rescale", "oversaturation", "cfg"),
    "Sampler": ("ksampler", "cfg", "guidance", "sample video"),
    "PrepareDataset": ("dataset", "captions", "training data"),
    "TrainEncoder": ("train", "lora", "fine-tune", "finetune", "adapter"),
    "NotePerson": ("provenance", "consent", "metadata", "c2pa"),
    "Merge": ("average", "several clips", "combine"),
    "Mix": ("blend people", "interpolate", "morph", "combine"),
    "LoadTemporal": ("temporal consistency", "flicker"),
    "RefineLatents": ("temporal consistency", "flicker", "smooth video"),
    "RefinementPicture": ("temporal consistency", "before and after"),
    "RouterMaps": ("attention map", "heat map", "visualize"),
    "CropFace": ("crop face", "face detection", "background white"),
    "FaceEmbedding": ("arcface", "insightface", "embedding", "reference picture"),
    "Encode": ("reference video", "reference picture", "vae encode"),
    "Apply": ("ip-adapter", "ipadapter", "reference video", "personalize", "wan"),
    "Load": ("load person", "saved person", "reference"),
    "Save": ("save person", "keep person", "reference"),
}  # fmt: skip
SYSTEMS = {"Lynx": ("bytedance", "image to video"), "STDRC": ("stand-in", "in-context"), "LaVieID": ("lavie",)}
# Inputs that most people never change.
ADVANCED = {
    "SlotIDLoadReferenceVideo": ("sample_rate", "short_side", "decoder"),
    "SlotIDFaceTrack": ("smoothing", "detector"),
    "SlotIDSelectPortrait": ("detector",),
    "SlotIDReferenceReport": ("detector",),
    "SlotIDGateSchedule": ("shift",),
    "SlotIDBlend": ("gate_mode",),
    "SlotIDApplyIdentity": ("blocks", "conditionings"),
    "LynxApply": ("blocks", "conditionings"),
    "LynxFaceEmbedding": ("detector", "moments", "reference_pictures"),
    "STDRCApply": ("conditionings",),
    "STDRCCropFace": ("detector",),
    "LaVieIDApply": ("conditionings",),
    "LaVieIDEncodePerson": ("detector", "face_encoder", "eva_clip"),
    "LaVieIDRefineLatents": ("chunk_frames",),
    "SlotIDGuider": ("order",),
    "SlotIDSampler": ("order", "denoise"),
    "SlotIDRefineGuidance": ("middle_every",),
    "SlotIDPrepareDataset": ("face_encoder",),
    "SlotIDTrainEncoder": ("micro_batch",),
    "SlotIDLikenessScore": ("worst", "every_frame"),
}  # fmt: skip
HAS_ALIASES = any(field.name == "search_aliases" for field in fields(io.Schema))


def with_finding(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """The same class, whose schema has search words, and marks advanced inputs."""
    define = node.define_schema.__func__

    @functools.wraps(define)
    def found(cls):
        return findable(define(cls))

    node.define_schema = classmethod(found)  # pyright: ignore[reportAttributeAccessIssue]
    return node


def findable(schema: io.Schema) -> io.Schema:
    for one in schema.inputs:
        if one.id in ADVANCED.get(schema.node_id, ()):
            # An option of the input in every version; its own field, where there is one, has the same name.
            one.extra_dict = {**(one.extra_dict or {}), "advanced": True}
    if HAS_ALIASES:
        schema.search_aliases = list(aliases(schema.node_id))  # pyright: ignore[reportAttributeAccessIssue]
    return schema


def title(schema: io.Schema) -> str:
    """What sentences call a node: its name without the brand, which is there for the search."""
    return schema.display_name.removesuffix(" (Slot-ID)")


def aliases(node_id: str) -> tuple[str, ...]:
    words = next((words for part, words in WORDS.items() if part in node_id), ())
    system = next((words for prefix, words in SYSTEMS.items() if node_id.startswith(prefix)), ())
    main = MAIN if any(part in node_id for part in MAIN_NODES) and "LoRA" not in node_id else ()
    return tuple(dict.fromkeys((*main, *words, *system)))
