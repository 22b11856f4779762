"""The trained family: where its files lie, what a manifest beside them says, and how they are read without ComfyUI."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from ..errors import SlotIDError
from ..files import write_json
from ..reference.faces.face_encoder import FaceEncoder, load_face_encoder
from ..tensor_shapes import fill, floats
from ..wan import WanConfig, WanModel
from ..wan.text_encoder import TextEncoder
from ..wan.vae import WanVAE
from ..weights import load_weights, naming, save_weights

if TYPE_CHECKING:  # ComfyUI starts without judges
    from .judges import ClipJudge, FaceJudge, MarkJudge

Judge = TypeVar("Judge", bound=nn.Module)
WEIGHTS = Path(__file__).parent / "weights"
KIND, VERSION = "toy_world", 1
TRAIN_ADAPTER = "python -m slotid_core.training --config slotid_core/training/configs/toy_world.yaml --output FOLDER"
# Wan's timestep shift for frames this small; ComfyUI's default of 8 is for frames a hundred times larger.
FLOW_SHIFT = 3.0


@dataclass(frozen=True)
class TrainedAfterOthers:
    """Settings of a training that needs parts trained before it."""

    bfloat16: bool = True  # of convolutions and matrix products; half to two thirds of the time on CPUs that have it
    save_every: int = 200
    weights: str = ""  # where those parts are, if not in the package

    def parts(self) -> Path:
        return Path(self.weights) if self.weights else WEIGHTS


def ship(part: str, tensors: dict[str, Tensor], manifest: dict, folder: Path = WEIGHTS) -> Path:
    """Write `part`.safetensors in fp16 and `part`.json, which says how it came to be and what was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{part}.safetensors"
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    save_weights(path, half, {"kind": KIND, "version": VERSION, "part": part, **manifest})
    manifest = {"part": part, **manifest, "bytes": path.stat().st_size, "machine": machine()}
    write_json(path.with_suffix(".json"), manifest, sort_keys=True)
    return path


def machine() -> dict:
    """What the figures of a manifest were measured on."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def has_part(part: str, folder: Path = WEIGHTS) -> bool:
    return (folder / f"{part}.safetensors").exists()


def part_path(part: str, folder: Path = WEIGHTS) -> Path:
    """File of a part.

    Raises:
        SlotIDError: the part has not been trained yet.
    """
    if not has_part(part, folder):
        command = TRAIN_ADAPTER if part == "adapter" else f"python -m slotid_core.toy_world train {part}"
        raise SlotIDError(f"The toy world has no trained {part.replace('_', ' ')} in {folder}. Train one: {command}")
    return folder / f"{part}.safetensors"


def read_part(part: str, folder: Path = WEIGHTS) -> tuple[dict[str, Tensor], dict]:
    """Tensors in fp32, and the header."""
    tensors, header = load_weights(part_path(part, folder), KIND, VERSION)
    return floats(tensors), header


def load_vae(folder: Path = WEIGHTS) -> WanVAE:
    tensors, _ = read_part("vae", folder)
    with naming(part_path("vae", folder)):
        return WanVAE.from_state_dict(tensors)


def load_text_model(folder: Path = WEIGHTS) -> TextEncoder:
    tensors, _ = read_part("text_encoder", folder)
    with naming(part_path("text_encoder", folder)):
        return TextEncoder(tensors)


def load_dit(folder: Path = WEIGHTS) -> WanModel:
    tensors, _ = read_part("dit", folder)
    with naming(part_path("dit", folder)):
        with torch.device("meta"):
            model = WanModel(WanConfig.from_state_dict(tensors))
        fill(model, tensors, "a Wan model")
    return model.eval().requires_grad_(False)


def load_face_judge(folder: Path = WEIGHTS) -> "FaceJudge":
    from .judges import FaceJudge

    return _judge(FaceJudge(), "face_judge", folder)


def load_face_recogniser(folder: Path = WEIGHTS) -> FaceEncoder:
    return load_face_encoder(part_path("face_recogniser", folder))


def load_clip_judge(folder: Path = WEIGHTS) -> "ClipJudge":
    from .judges import ClipJudge

    return _judge(ClipJudge(), "clip_judge", folder)


def load_mark_judge(folder: Path = WEIGHTS) -> "MarkJudge":
    from .judges import MarkJudge

    return _judge(MarkJudge(), "mark_judge", folder)


def _judge(judge: Judge, part: str, folder: Path) -> Judge:
    with naming(part_path(part, folder)):
        fill(judge, read_part(part, folder)[0], f"a {part.replace('_', ' ')}")
    return judge.eval().requires_grad_(False)
