"""The metrics of a row, as a small file beside the page. A study on another machine goes on from these files."""

import io
import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from slotid_core.config import config_from_dict
from slotid_core.errors import SlotIDError
from slotid_core.evaluation.made_from import preparation_today, training_today
from slotid_core.evaluation.variants import GROUND_TRUTH
from slotid_core.weights import read_header, read_tensors, save_weights
from studies.slot_id.studio import StudyUsage

KIND, VERSION = "study_row", 1
DRAWN = "drawn"  # the fact that stands for an adapter in rows that have none
Measured = dict[str, np.ndarray]


def read_row(path: Path, facts: dict, but: Collection[str] = ()) -> Measured | None:
    """Metrics (people, clips, ...) and `frames`; None if there is no such file, or it was made from other facts.

    Args:
        but: facts that may be others.
    """
    if not path.is_file() or different_facts(path, facts, but):
        return None
    measured = {name: tensor.numpy() for name, tensor in read_tensors(path, check=False)[0].items()}
    return measured | {"frames": _unpack(measured["frames"], measured.pop("shape"))}


def different_facts(path: Path, facts: dict, but: Collection[str] = ()) -> list[str]:
    """Names of the facts in which a row file differs from these."""
    kept, wanted = (_as_read_today(each) for each in (read_header(path, KIND, VERSION)["facts"], facts))
    names = (kept.keys() | wanted.keys()).difference(but)
    return sorted(name for name in names if kept.get(name) != wanted.get(name))


def write_row(path: Path, measured: Measured, facts: dict) -> None:
    """`frames` (people, clips, T, H, W, 3) in [0, 255] are kept as a JPEG, a thirtieth of their size."""
    kept = {name: values.astype(np.float32) for name, values in measured.items() if name != "frames"}
    packed = {"frames": _pack(measured["frames"]), "shape": np.array(measured["frames"].shape)}
    tensors = {name: torch.from_numpy(values) for name, values in (kept | packed).items()}
    save_weights(path, tensors, {"kind": KIND, "version": VERSION, "facts": facts})


# Facts that are settings. They are compared as today's code reads them.
SETTINGS = {
    "usage": lambda values: asdict(config_from_dict(StudyUsage, values)),
    "training": training_today,
    "data": preparation_today,
}


def _as_read_today(facts: dict) -> dict:
    """Facts as JSON keeps them, with settings filled in; those that today's code cannot read are left as they are."""
    read = dict(facts)
    if read.get(DRAWN) == "ceiling":  # what files of earlier releases call the ground truth
        read[DRAWN] = GROUND_TRUTH
    read.setdefault("scenes", "random")  # files of earlier releases have no other
    for name, as_read in SETTINGS.items():
        if read.get(name) is not None:
            with suppress(SlotIDError):
                read[name] = as_read(read[name])
    return json.loads(json.dumps(read))


def _pack(frames: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(frames.reshape(-1, frames.shape[-2], 3)).save(buffer, "JPEG", quality=90, subsampling=0)
    return np.frombuffer(buffer.getvalue(), np.uint8).copy()


def _unpack(packed: np.ndarray, shape: np.ndarray) -> np.ndarray:
    with Image.open(io.BytesIO(packed.tobytes())) as picture:
        return np.array(picture).reshape(shape.tolist())
