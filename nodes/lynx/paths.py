"""Where Lynx's files live: `models/lynx`, `models/lynx/references` and `models/facexlib`, and whatever
`extra_model_paths.yaml` adds under these names. Lynx files in `models/diffusion_models` are found as well.
"""

import os

import folder_paths

from ...slotid_core.errors import SlotIDError
from ...slotid_core.systems.lynx.inference import INFERENCE
from ...slotid_core.systems.lynx.random_checkpoints import LynxPaths, random_lynx
from ...slotid_core.toy_world.family import WEIGHTS, part_path
from ...slotid_core.toy_world.random_checkpoints import DEPTH, WIDTH
from ..shared import paths

LAYERS = "lynx"
REFERENCES = "lynx_references"
FACE_ENCODERS = "facexlib"
TOY_ENCODER = "toy_world"  # the recogniser of drawn people that ships
TOY_TRAINED = "toy_world"  # an adapter for them, where one ships: all parts in one file
SHIPPED = WEIGHTS / INFERENCE.shipped_file
TOY_FULL, TOY_LITE = "toy_world_random", "toy_world_random_lite"


def register_folders() -> None:
    root = os.path.join(folder_paths.models_dir, "lynx")
    paths.register_folder(LAYERS, root)
    paths.register_folder(REFERENCES, os.path.join(root, "references"))
    paths.register_folder(
        FACE_ENCODERS, os.path.join(folder_paths.models_dir, "facexlib"), frozenset({".pth", ".safetensors"})
    )


def layer_names() -> list[str]:
    """Files of layers and resamplers. Those that another pack's users already have count as well."""
    names = paths.names_outside(LAYERS, ("references", paths.TOY_FOLDER))
    return names + [name for name in paths.file_names("diffusion_models") if "lynx" in name.lower()]


def layer_path(name: str) -> str:
    try:
        return paths.model_path("diffusion_models", name)
    except SlotIDError:
        return paths.model_path(LAYERS, name)


def toy(name: str, full: str, lite: str) -> str | None:
    """The toy world's file behind a virtual name: the shipped one, or the field `full` or `lite` of `LynxPaths`."""
    if name == TOY_TRAINED:
        return str(SHIPPED)
    field = {TOY_FULL: full, TOY_LITE: lite}.get(name)
    return None if field is None else str(getattr(toy_files(), field))


def toy_names() -> list[str]:
    """The toy world's adapters: the trained one where it ships, and random ones that are made when first asked for."""
    return [*([TOY_TRAINED] if SHIPPED.is_file() else []), TOY_FULL, TOY_LITE]


def toy_files() -> LynxPaths:
    return random_lynx(os.path.join(folder_paths.get_folder_paths(LAYERS)[0], paths.TOY_FOLDER), WIDTH, DEPTH)


def face_encoder_names() -> list[str]:
    return [name for name in paths.file_names(FACE_ENCODERS) if "arcface" in name.lower()] + [TOY_ENCODER, TOY_FULL]


def face_encoder_path(name: str) -> str:
    if name == TOY_ENCODER:
        return str(part_path("face_recogniser"))
    return str(toy_files().face_encoder) if name == TOY_FULL else paths.model_path(FACE_ENCODERS, name)
