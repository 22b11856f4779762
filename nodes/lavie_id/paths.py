"""Where LaVieID's files live: `models/lavie_id` and `models/lavie_id/people`, and whatever `extra_model_paths.yaml`
adds under the names `lavie_id` and `lavie_id_people`. The face encoder is facexlib's, in `models/facexlib`, and
EVA02-CLIP-L lies in `models/clip_vision`.
"""

import os

import folder_paths

from ...slotid_core.systems.lavie_id.inference import INFERENCE
from ...slotid_core.systems.lavie_id.random_checkpoints import random_adapter_file
from ...slotid_core.toy_world.family import WEIGHTS, has_part, part_path
from ...slotid_core.toy_world.random_checkpoints import DEPTH, WIDTH
from ..shared import paths

ADAPTERS = "lavie_id"
PEOPLE = "lavie_id_people"
FACE_ENCODERS = "facexlib"
TOY_ADAPTER, RANDOM_TOY_ADAPTER = "toy_world", "toy_world_random"
NO_ENCODER, TOY_ENCODER = "none", "toy_world"
CLIP_VISION, NO_EVA = "clip_vision", "none"
SHIPPED = WEIGHTS / INFERENCE.shipped_file


def register_folders() -> None:
    root = os.path.join(folder_paths.models_dir, "lavie_id")
    paths.register_folder(ADAPTERS, root)
    paths.register_folder(PEOPLE, os.path.join(root, "people"))
    encoders = os.path.join(folder_paths.models_dir, "facexlib")
    paths.register_folder(FACE_ENCODERS, encoders, frozenset({".pth", ".safetensors"}))


def adapter_names() -> list[str]:
    """Adapter files, and the toy world's: the shipped one, and a random one that is made when it is first asked for."""
    files = paths.names_outside(ADAPTERS, ("people", "temporal", paths.TOY_FOLDER))
    return [*files, *([TOY_ADAPTER] if SHIPPED.is_file() else []), RANDOM_TOY_ADAPTER]


def adapter_path(name: str) -> str:
    if name == TOY_ADAPTER:
        return str(SHIPPED)
    if name == RANDOM_TOY_ADAPTER:
        folder = os.path.join(folder_paths.get_folder_paths(ADAPTERS)[0], paths.TOY_FOLDER)
        return str(random_adapter_file(folder, WIDTH, DEPTH))
    return paths.model_path(ADAPTERS, name)


def face_encoder_names() -> list[str]:
    files = [name for name in paths.file_names(FACE_ENCODERS) if "arcface" in name.lower()]
    return [NO_ENCODER, *files, *([TOY_ENCODER] if has_part("face_recogniser") else [])]


def face_encoder_path(name: str) -> str:
    return str(part_path("face_recogniser")) if name == TOY_ENCODER else paths.model_path(FACE_ENCODERS, name)


def eva_names() -> list[str]:
    return [NO_EVA, *(name for name in paths.file_names(CLIP_VISION) if "eva02" in name.lower())]


def eva_path(name: str) -> str:
    """The file of EVA02-CLIP-L, or "" for none."""
    return "" if name == NO_EVA else paths.model_path(CLIP_VISION, name)
