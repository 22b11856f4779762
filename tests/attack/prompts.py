"""Prompts that the server gets: good ones, whose results must not change, and the parts that hostile ones need."""

import copy
import json

from ..comfy.graphs import applied, base_graph, node, person, with_person
from . import ROOT

WORKFLOWS = ROOT / "workflows" / "api"
TOY = "toy_world_random"
# Where the links of a node under attack come from: by the name of the input, else by its type.
BY_NAME = {
    "clip_latent": ["ann clip latent", 0], "portrait_latent": ["ann portrait latent", 0], "slots": ["ann slots", 0],
    "anchors": ["ann anchors", 0], "image": ["picture", 0], "frames": ["clip", 0], "face_clip": ["track", 0],
    "window_report": ["clip", 5], "track_report": ["track", 3], "portrait_report": ["chosen", 3], "face": ["face", 0],
    "reference": ["reference", 0], "pictures": ["one", 0],
}  # fmt: skip
WITH_A_PERSON = ["applied", 0]  # a MODEL for nodes that need one on it
BY_TYPE = {
    "MODEL": ["model", 0], "CLIP": ["model", 1], "VAE": ["model", 2], "CONDITIONING": ["positive", 0],
    "LATENT": ["latent", 0], "IMAGE": ["ann picture", 0], "SLOTID_ADAPTER": ["adapter", 0],
    "SLOTID_IDENTITY": ["ann", 0], "LYNX_ADAPTER": ["lynx", 0], "LYNX_FACE": ["face", 0],
    "LYNX_REFERENCE": ["reference", 0], "STDRC_ADAPTER": ["st_drc", 0], "STDRC_PERSON": ["pictured", 0],
    "LAVIEID_ADAPTER": ["lavie_id", 0], "LAVIEID_PERSON": ["routed", 0],
    "LAVIEID_TEMPORAL": ["temporal", 0],
}  # fmt: skip


def parts() -> dict:
    """Nodes that make something of every type that a node of the pack takes."""
    made = base_graph() | person("ann", 0xC08060) | lynx_parts() | st_drc_parts() | reading_parts() | lavie_id_parts()
    return made | {"applied": applied("ann")}


def reading_parts() -> dict:
    """A clip, its face, and a portrait, of the shipped workflow."""
    graph = shortened("slot_id_text_to_video")
    clip, track, chosen = (graph[number] for number in ("1", "2", "3"))
    clip["inputs"] |= {"window": "at start_seconds", "num_frames": 9}
    track["inputs"]["frames"] = ["clip", 0]
    chosen["inputs"]["face_clip"] = ["track", 0]
    return {"clip": clip, "track": track, "chosen": chosen}


def lynx_parts() -> dict:
    return {
        "picture": node("EmptyImage", width=128, height=128, batch_size=1, color=0xC08060),
        "lynx": node("LynxLoadAdapter", id_layers=TOY, resampler=TOY, ref_layers=TOY),
        "face": node("LynxFaceEmbedding", image=["picture", 0], face_encoder=TOY, detector="auto", on_missing="skip"),
        "reference": node(
            "LynxEncodeReference", model=["model", 0], vae=["model", 2], clip=["model", 1], reference_crop=["face", 1]
        ),
    }  # fmt: skip


def st_drc_parts() -> dict:
    return {
        "st_drc": node("STDRCLoadAdapter", adapter_name=TOY),
        "pictured": node("STDRCEncodeReference", vae=["model", 2], pictures=["picture", 0], width=64, height=64),
    }


def lavie_id_parts() -> dict:
    """Needs the clip of `reading_parts`."""
    return {
        "lavie_id": node("LaVieIDLoadAdapter", adapter_name=TOY),
        "one": node("ImageFromBatch", image=["clip", 0], batch_index=0, length=1),
        "routed": node(
            "LaVieIDEncodePerson", adapter=["lavie_id", 0], pictures=["one", 0], detector="auto", on_missing="error",
            face_encoder="none",
        ),
        "temporal": node("LaVieIDLoadTemporal", module_name=TOY),
    }  # fmt: skip


def good(number: int) -> dict:
    """A prompt of one of `KINDS` in turn, with a seed of its own; each saves a latent or pictures."""
    return KINDS[number % len(KINDS)](number)


def _slot_id(number: int) -> dict:
    graph = with_person(color=0x305080 + 977 * number)
    graph["sample"]["inputs"]["seed"] = number
    return graph


def _lynx(number: int) -> dict:
    graph = base_graph(model=("apply", 0)) | lynx_parts()
    graph["picture"]["inputs"]["color"] = 0x305080 + 977 * number
    graph["sample"]["inputs"]["seed"] = number
    graph["apply"] = node(
        "LynxApply", model=["model", 0], adapter=["lynx", 0], face=["face", 0], reference=["reference", 0],
        id_scale=1.0, ref_scale=1.0, start_percent=0.0, end_percent=1.0, blocks="all", conditionings="positive",
    )  # fmt: skip
    return graph


def _st_drc(number: int) -> dict:
    """By a picture that is cropped as Stand-In's is, with the LoRA."""
    graph = base_graph(model=("apply", 0)) | st_drc_parts()
    graph["picture"] = node("EmptyImage", width=128, height=128, batch_size=1, color=0x305080 + 977 * number)
    graph["crop"] = node("STDRCCropFace", image=["picture", 0], detector="auto", on_missing="skip")
    graph["pictured"]["inputs"]["pictures"] = ["crop", 0]
    graph["sample"]["inputs"]["seed"] = number
    graph["with lora"] = node("STDRCApplyLoRA", model=["model", 0], adapter=["st_drc", 0], lora_strength=1.0)
    graph["apply"] = node(
        "STDRCApply", model=["with lora", 0], adapter=["st_drc", 0], person=["pictured", 0], scale=1.0,
        start_percent=0.0, end_percent=1.0, conditionings="positive",
    )  # fmt: skip
    return graph


def _lavie_id(number: int) -> dict:
    """By the components of a face, with the latents refined and maps of the router."""
    graph = base_graph(model=("apply", 0)) | reading_parts() | lavie_id_parts()
    del graph["track"], graph["chosen"]
    graph["clip"]["inputs"]["start_seconds"] = number % 10 / 10
    graph["sample"]["inputs"]["seed"] = number
    graph["apply"] = node(
        "LaVieIDApply", model=["model", 0], adapter=["lavie_id", 0], person=["routed", 0], scale=1.0,
        start_percent=0.0, end_percent=1.0, conditionings="positive",
    )  # fmt: skip
    graph["refined"] = node(
        "LaVieIDRefineLatents", samples=["sample", 0], temporal=["temporal", 0], strength=1.0, chunk_frames=0
    )
    graph["save"]["inputs"]["samples"] = ["refined", 0]
    graph["maps"] = node(
        "LaVieIDRouterMaps", model=["model", 0], adapter=["lavie_id", 0], person=["routed", 0],
        positive=["positive", 0], samples=["sample", 0], noise_level=0.2, opacity=0.5,
    )  # fmt: skip
    graph["changed"] = node("LaVieIDRefinementPicture", before=["sample", 0], after=["refined", 0])
    for name in ("maps", "changed"):
        graph[f"keep {name}"] = node("SaveImage", images=[name, 0], filename_prefix=f"good/{name}")
    return graph


def _read(number: int) -> dict:
    """A clip is read, its face tracked, and a portrait chosen."""
    graph = reading_parts()
    graph["clip"]["inputs"]["start_seconds"] = number % 10 / 10
    graph["save"] = node("SaveImage", images=["chosen", 0], filename_prefix="good/portrait")
    return graph


def _trained(number: int) -> dict:
    """The identity that comes with the pack, on the trained toy model."""
    graph = shortened("slot_id_reuse_identity", seed=number)
    del graph["11"]
    graph["12"] = node("SaveImage", images=["10", 0], filename_prefix="good/video")
    return graph


KINDS = (_slot_id, _lynx, _st_drc, _lavie_id, _read, _trained)


def shortened(name: str, seed: int = 1, steps: int = 2) -> dict:
    """A shipped workflow with fewer frames and steps."""
    graph = copy.deepcopy(json.loads((WORKFLOWS / f"{name}.json").read_text()))
    for entry in graph.values():
        entry.pop("_meta", None)
        for key, value in (("num_frames", 17), ("steps", steps), ("length", 9), ("seed", seed)):
            if key in entry["inputs"]:
                entry["inputs"][key] = value
    return graph


def saved_people() -> dict:
    """Files that nodes which load a person can be given."""
    saves = {
        "save": node("LynxSaveReference", reference=["reference", 0], name="person", replace=False),
        "keep": node("STDRCSavePerson", person=["pictured", 0], name="person", replace=False),
        "keep routed": node("LaVieIDSavePerson", person=["routed", 0], name="person", replace=False),
    }
    return base_graph() | lynx_parts() | st_drc_parts() | reading_parts() | lavie_id_parts() | saves


def preparation(name: str, people: int = 1) -> dict:
    data = node(
        "SlotIDPrepareDataset", source="toy world", path="", name=name, vae="tiny_vae.safetensors",
        text_encoder="tiny_text.safetensors", frames=5, width=64, height=64, subfolders_are_people=False,
        toy_people=people,
    )  # fmt: skip
    return {"data": data, "report": node("PreviewAny", source=["data", 1])}
