"""What the judges said of a row, as a small file beside the page: a study goes on from these on another machine."""

import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from slotid_core.config import config_from_dict
from slotid_core.dataset.config import PrepareConfig
from slotid_core.errors import SlotIDError
from slotid_core.evaluation.usage import Usage
from slotid_core.training.config import TrainingConfig
from slotid_core.weights import read_header, read_tensors, save_weights

KIND, VERSION = "study_row", 1
Judged = dict[str, np.ndarray]
# Facts that are settings, which are compared as today's code reads them: one added since counts as its default.
SETTINGS = {"usage": Usage, "training": TrainingConfig, "data": PrepareConfig}


def read_row(path: Path, facts: dict) -> Judged | None:
    """Figures (people, clips, ...) and `frames`; None if there is no such file, or it was made from other facts."""
    if not path.is_file() or _as_read_today(read_header(path, KIND, VERSION)["facts"]) != _as_read_today(facts):
        return None
    judged = {name: tensor.numpy() for name, tensor in read_tensors(path)[0].items()}
    return judged | {"frames": _unpack(judged["frames"], judged.pop("shape"))}


def write_row(path: Path, judged: Judged, facts: dict) -> None:
    """`frames` (people, clips, T, H, W, 3) in [0, 255] are kept as a JPEG, a thirtieth of their size."""
    kept = {name: values.astype(np.float32) for name, values in judged.items() if name != "frames"}
    packed = {"frames": _pack(judged["frames"]), "shape": np.array(judged["frames"].shape)}
    tensors = {name: torch.from_numpy(values) for name, values in (kept | packed).items()}
    save_weights(path, tensors, {"kind": KIND, "version": VERSION, "facts": facts})


def _as_read_today(facts: dict) -> dict:
    """Facts as JSON keeps them, with settings filled in; those that today's code cannot read are left as they are."""
    told = dict(facts)
    for name, kind in SETTINGS.items():
        if told.get(name) is not None:
            try:
                told[name] = asdict(config_from_dict(kind, told[name]))
            except SlotIDError:
                pass
    return json.loads(json.dumps(told))


def _pack(frames: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    height, width = frames.shape[-3:-1]
    Image.fromarray(frames.reshape(-1, width, 3)).save(buffer, "JPEG", quality=90, subsampling=0)
    return np.frombuffer(buffer.getvalue(), np.uint8).copy()


def _unpack(packed: np.ndarray, shape: np.ndarray) -> np.ndarray:
    with Image.open(io.BytesIO(packed.tobytes())) as picture:
        return np.array(picture).reshape(shape.tolist())
