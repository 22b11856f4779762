"""A result: one measurement of one row and training seed, as a small file beside the page with all it was made from."""

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from slotid_core.errors import SlotIDError
from slotid_core.evaluation.made_from import preparation_today, training_today
from slotid_core.files import whole_file
from slotid_core.weights import read_header, read_tensors, save_weights

KIND, VERSION = "four_systems_result", 1
Measured = dict[str, np.ndarray]


def file_of(folder: Path, part: str, row: str, seed: int) -> Path:
    return folder / part / f"{row}-{seed}.safetensors"


def write_result(path: Path, measured: Measured, facts: dict) -> None:
    tensors = {name: torch.from_numpy(np.asarray(values, dtype=np.float64)) for name, values in measured.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    # NaN stands where a scene does not show a factor, and a file of ours holds none: what is known stands beside.
    known = {f"{name}.known": tensor.isfinite().to(torch.uint8) for name, tensor in tensors.items()}
    finite = {name: tensor.nan_to_num(0.0, 0.0, 0.0).float() for name, tensor in tensors.items()}
    save_weights(path, finite | known, {"kind": KIND, "version": VERSION, "facts": facts})


def read_result(path: Path, facts: dict | None = None) -> Measured | None:
    """The values, None where there is no file, or one that was made from other facts.

    Args:
        facts: those of today; None takes the file whatever it was made from.
    """
    if not path.is_file():
        return None
    if facts is not None and _today(read_facts(path)) != _today(facts):
        return None
    tensors = {name: tensor.numpy() for name, tensor in read_tensors(path)[0].items()}
    names = [name for name in tensors if not name.endswith(".known")]
    return {name: np.where(tensors[f"{name}.known"] > 0, tensors[name].astype(np.float64), np.nan) for name in names}


def read_facts(path: Path) -> dict:
    facts = read_header(path, KIND, VERSION).get("facts")
    if not isinstance(facts, dict):
        raise SlotIDError(f"{path.name} does not say what it was made from. Delete it, and it is measured again.")
    return facts


def _today(facts: dict) -> dict:
    """As JSON keeps them, with settings as today's code reads them; those that it cannot read are left as they are."""
    read = dict(facts)
    with suppress(SlotIDError):
        if "data" in facts:
            read["data"] = preparation_today(facts["data"])
        if "training" in facts:
            read["training"] = [training_today(settings) for settings in facts["training"]]
    return json.loads(json.dumps(read))


def write_frames(path: Path, clips: torch.Tensor) -> None:
    """First, middle and last frame of clips (people, T, H, W, 3) in [0, 1], a person a row."""
    shown = clips[:, [0, clips.shape[1] // 2, clips.shape[1] - 1]]
    picture = shown.permute(0, 2, 1, 3, 4).flatten(2, 3).flatten(0, 1)
    with whole_file(path) as unfinished:
        Image.fromarray((picture * 255).round().byte().numpy()).save(unfinished, quality=90)
