"""Files of every kind that the pack reads, each with its loader, and how a test spoils them."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from conftest import TINY_DEPTH, TINY_WIDTH, tiny_wan
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from stand_in_small import published_lora

from slotid_core.dataset.models import load_vae
from slotid_core.reference.faces.drawn_faces import WEIGHTS as FINDER
from slotid_core.reference.faces.drawn_faces import load_finder
from slotid_core.reference.faces.face_encoder import load_face_encoder
from slotid_core.reference.portrait.parts import WEIGHTS as PARTS
from slotid_core.reference.portrait.parts import load_parts
from slotid_core.systems.lavie_id import Person as LaVieIDPerson
from slotid_core.systems.lavie_id import load_adapter as load_lavie_id
from slotid_core.systems.lavie_id import save_adapter as save_lavie_id
from slotid_core.systems.lavie_id.config import VisionConfig
from slotid_core.systems.lavie_id.eva_vision import EvaVision
from slotid_core.systems.lavie_id.random_checkpoints import random_adapter as random_lavie_id
from slotid_core.systems.lavie_id.temporal import load_temporal
from slotid_core.systems.lavie_id.temporal.file import random_temporal, save_temporal
from slotid_core.systems.lavie_id.vision import ClipVision, load_vision
from slotid_core.systems.lynx import ReferenceFeatures
from slotid_core.systems.lynx.inference import load_trained
from slotid_core.systems.slot_id import Identity, load_adapter
from slotid_core.systems.st_drc import Person
from slotid_core.systems.st_drc import load_adapter as load_st_drc
from slotid_core.systems.st_drc import save_adapter as save_st_drc
from slotid_core.systems.st_drc.random_checkpoints import random_adapter as random_st_drc
from slotid_core.toy_world.family import WEIGHTS as TOY_WORLD
from slotid_core.toy_world.family import load_dit, load_text_model
from slotid_core.toy_world.family import load_vae as load_toy_vae
from slotid_core.training.backbone import load_backbone
from slotid_core.training.checkpoint import KIND, VERSION, read_checkpoint
from slotid_core.training.config import BackboneConfig
from slotid_core.wan.text_encoder import TextEncoder

FIXTURES = Path(__file__).parents[1] / "fixtures" / "7fc280a"
SMALL_CLIP = VisionConfig(side=32, width=32, pooled_width=16, levels=(0, 1), patch=8, heads=2)
SMALL_EVA = VisionConfig("eva02_clip_l", side=32, width=32, pooled_width=16, levels=(0, 1), patch=8, heads=2)
LOADERS: dict[str, Callable] = {
    "adapter": load_adapter,
    "identity": Identity.load,
    "lynx": load_trained,
    "lynx_reference": ReferenceFeatures.load,
    "st_drc": load_st_drc,
    "stand_in": load_st_drc,
    "st_drc_person": Person.load,
    "lavie_id": load_lavie_id,
    "lavie_id_person": LaVieIDPerson.load,
    "lavie_id_temporal": load_temporal,
    "clip_vision": lambda path: load_vision(path, SMALL_CLIP),
    "eva_clip": lambda path: load_vision(path, SMALL_EVA),
    "face_encoder": load_face_encoder,
    "backbone": lambda path: load_backbone(BackboneConfig(str(path), dtype="float32")),
    "backbone_bf16": lambda path: load_backbone(BackboneConfig(str(path), dtype="bfloat16")),
    "backbone_fp8": lambda path: load_backbone(BackboneConfig(str(path), dtype="float8_e4m3fn")),
    "vae": lambda path: load_vae(str(path)),
    "text_encoder": TextEncoder.from_file,
    "checkpoint": read_checkpoint,
    "finder": lambda path: load_finder.__wrapped__(path),
    "parts": lambda path: load_parts.__wrapped__(path),
    "dit": lambda path: load_dit(path.parent),
    "toy_vae": lambda path: load_toy_vae(path.parent),
    "toy_text_encoder": lambda path: load_text_model(path.parent),
}
SHIPPED = {
    "adapter": FIXTURES / "slot_id_full.safetensors",
    "identity": FIXTURES / "identity_full.safetensors",
    "lynx_reference": FIXTURES / "lynx_reference.safetensors",
    "face_encoder": FIXTURES / "lynx_face_encoder.safetensors",
    "vae": TOY_WORLD / "vae.safetensors",
    "text_encoder": TOY_WORLD / "text_encoder.safetensors",
    "finder": FINDER,
    "parts": PARTS,
    "dit": TOY_WORLD / "dit.safetensors",
    "toy_vae": TOY_WORLD / "vae.safetensors",
    "toy_text_encoder": TOY_WORLD / "text_encoder.safetensors",
}
TOY_PARTS = {"dit": "dit", "toy_vae": "vae", "toy_text_encoder": "text_encoder"}  # read by their names


def good_file(kind: str, folder: Path) -> Path:
    """A file of this kind that loads, in `folder`."""
    path = folder / f"{TOY_PARTS.get(kind, kind)}.safetensors"
    if kind in SHIPPED:
        path.write_bytes(SHIPPED[kind].read_bytes())
    elif kind == "lynx":
        parts = ("lynx_full_resampler", "lynx_full_id_repacked", "lynx_ref_repacked")
        save_file({name: t for part in parts for name, t in load_file(FIXTURES / f"{part}.safetensors").items()}, path)
    elif kind == "st_drc":
        save_st_drc(path, random_st_drc(TINY_WIDTH, TINY_DEPTH))
    elif kind == "stand_in":
        save_file(published_lora(), path, metadata={"format": "pt"})
    elif kind == "st_drc_person":
        Person(torch.randn(1, 16, 2, 8, 8), {"name": "somebody"}).save(path)
    elif kind == "lavie_id":
        adapter = random_lavie_id(TINY_WIDTH, TINY_DEPTH)
        save_lavie_id(path, adapter.config, dict(adapter.state_dict()))
    elif kind == "lavie_id_temporal":
        module = random_temporal()
        save_temporal(path, module.config, module.state_dict())
    elif kind == "clip_vision":
        save_file(ClipVision(32, 2, 2, 48, 8, 32, 16).state_dict(), path)
    elif kind == "eva_clip":
        network = EvaVision(32, 2, 2, 40, 8, 32, 16)
        save_file({f"visual.{name}": tensor for name, tensor in network.state_dict().items()}, path)
    elif kind == "lavie_id_person":
        LaVieIDPerson(torch.randn(1, 6, 4, 8), torch.ones(1, 6), "abc", {"name": "somebody"}).save(path)
    elif kind.startswith("backbone"):
        save_file(tiny_wan().state_dict(), path)
    else:
        header = {"kind": KIND, "version": VERSION, "step": 3}
        save_file({"weights.a": torch.randn(3)}, path, metadata={"slotid": json.dumps(header)})
    return path


def spoil(path: Path, header: Callable[[dict], object] | None = None, tensors: Callable[[dict], object] | None = None):
    """Change the JSON header and the tensors of a file in place."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    found = load_file(path)
    if tensors is not None:
        tensors(found)
    if header is not None:
        values = json.loads(metadata["slotid"])
        header(values)
        metadata["slotid"] = json.dumps(values)
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, path, metadata=metadata or None)


def put_header(path: Path, text: str) -> None:
    """Replace the JSON header by a text, which need not be JSON."""
    save_file(load_file(path), path, metadata={"slotid": text})
