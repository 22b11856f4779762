"""Weight files: safetensors with one JSON header that says what they are. Never pickle."""

import json
import os
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .errors import SlotIDError
from .files import whole_file

HEADER_KEY = "slotid"


def save_weights(path: str | os.PathLike, tensors: dict[str, Tensor], header: dict) -> None:
    """Write tensors and a header that holds at least `kind` and `version`; the file appears whole or not at all."""
    with whole_file(path, ending="") as unfinished:
        # A copy each: safetensors refuses tensors that share memory, as an identity of one stream twice would.
        tensors = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
        }
        save_file(tensors, unfinished, metadata={HEADER_KEY: json.dumps(header, sort_keys=True)})


def read_tensors(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, mapped from the file and read when used, and the metadata of any safetensors file.

    Raises:
        SlotIDError: the file is missing or is no safetensors.
    """
    with _open(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def read_header(path: str | os.PathLike, kind: str, version: int) -> dict:
    """The JSON header of a file of ours.

    Raises:
        SlotIDError: the file is missing, is no safetensors, is of another kind, or is newer than this code.
    """
    path = Path(path)
    with _open(path) as file:
        metadata = file.metadata() or {}
    try:
        header = json.loads(metadata[HEADER_KEY])
    except (KeyError, json.JSONDecodeError):
        raise SlotIDError(
            f"{path.name} is a safetensors file, but not one of this pack's. Choose a {kind.replace('_', ' ')} file."
        ) from None
    if header.get("kind") != kind:
        raise SlotIDError(
            f"{path.name} holds a {header.get('kind')!r} where a {kind!r} is needed. Choose another file."
        )
    if header.get("version", 0) > version:
        raise SlotIDError(
            f"{path.name} has format version {header['version']}; this pack reads up to {version}. Update the pack."
        )
    return header


def load_weights(path: str | os.PathLike, kind: str, version: int) -> tuple[dict[str, Tensor], dict]:
    """Tensors on the CPU, and the header; errors as `read_header`, and also for NaN or infinite weights."""
    header = read_header(path, kind, version)
    tensors, _ = read_tensors(path)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise SlotIDError(f"{Path(path).name} holds NaN or infinity in {name!r}. The file is not usable.")
    return tensors, header


@contextmanager
def _open(path: str | os.PathLike):
    path = Path(path)
    if not path.is_file():
        raise SlotIDError(f"There is no file {path.name!r} in {path.parent}. Check the name, then refresh the list.")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise SlotIDError(
            f"{path.name} cannot be read as safetensors ({error}). It is damaged or not finished; copy it again."
        ) from error


def read_pth(path: str | os.PathLike) -> dict[str, Tensor]:
    """Tensors of somebody else's PyTorch file; anything but tensors that its pickle asks for is refused.

    Raises:
        SlotIDError: damaged, or not such a file.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what the unpickler meets in a damaged file can end in any of them
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SlotIDError(
            f"{os.path.basename(path)} cannot be read ({reason}). It is damaged; download it again."
        ) from error


def with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
