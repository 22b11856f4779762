"""Weight files: safetensors with one JSON header that says what they are. Never pickle.

This is the door through which weights come in. Whatever is read is refused here if it is damaged, of another kind, or
holds NaN; errors of what is built of it get the file's name from `naming`.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .errors import SlotIDError
from .files import whole_file
from .finite import all_finite
from .json_header import read_json, write_json

HEADER_KEY = "slotid"


def save_weights(path: str | os.PathLike, tensors: dict[str, Tensor], header: dict) -> None:
    """Write tensors and a header that holds at least `kind` and `version`; the file appears whole or not at all."""
    path = Path(path)
    try:
        metadata = {HEADER_KEY: write_json(header)}
    except ValueError as error:
        raise SlotIDError(f"{path.name} cannot be written, as its header could not be read: {error}.") from error
    with whole_file(path, ending="") as unfinished:
        # A copy each: safetensors refuses tensors that share memory, as an identity of one stream twice would.
        tensors = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
        }
        save_file(tensors, unfinished, metadata=metadata)


def read_tensors(path: str | os.PathLike, check: bool = True) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, mapped from the file, and the metadata of any safetensors file.

    Args:
        check: look for NaN and infinity, which reads the whole file. Without it, who casts the tensors looks, so that
            a file larger than the memory is read once.

    Raises:
        SlotIDError: the file is missing, is no safetensors, or holds NaN or infinity.
    """
    with _open(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    if check:
        with naming(path):
            check_finite(tensors)
    return tensors, metadata


def read_shapes(path: str | os.PathLike) -> dict[str, Tensor]:
    """Tensors without memory, of a file that is not read."""
    with _open(path) as file:
        return {name: torch.empty(file.get_slice(name).get_shape(), device="meta") for name in file.keys()}  # noqa: SIM118


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raises a SlotIDError that names the first tensor with NaN or infinity."""
    for name, tensor in tensors.items():
        if not all_finite(tensor):
            raise SlotIDError(f"{name!r} holds NaN or infinity. The file is not usable.")


def has_header(path: str | os.PathLike) -> bool:
    """Whether a safetensors file is one of ours, of whatever kind.

    Raises:
        SlotIDError: the file is missing, or is no safetensors.
    """
    with _open(path) as file:
        return HEADER_KEY in (file.metadata() or {})


def peek_header(path: str | os.PathLike) -> dict:
    """The JSON header of a file of ours, of whatever kind and version.

    Raises:
        SlotIDError: the file is missing, is no safetensors, or is not one of ours.
    """
    path = Path(path)
    with _open(path) as file:
        metadata = file.metadata() or {}
    if HEADER_KEY not in metadata:
        raise SlotIDError(f"{path.name} is a safetensors file, but not one of this pack's.")
    try:
        return read_json(metadata[HEADER_KEY])
    except ValueError as error:
        raise SlotIDError(f"{path.name} has a header that cannot be read: {error}.") from None


def read_header(path: str | os.PathLike, kind: str, version: int) -> dict:
    """The JSON header of a file of ours.

    Raises:
        SlotIDError: the file is missing, is no safetensors, is of another kind, or is newer than this code.
    """
    path = Path(path)
    with _open(path) as file:
        metadata = file.metadata() or {}
    if HEADER_KEY not in metadata:
        raise SlotIDError(
            f"{path.name} is a safetensors file, but not one of this pack's. Choose a {kind.replace('_', ' ')} file."
        )
    try:
        header = read_json(metadata[HEADER_KEY])
    except ValueError as error:
        raise SlotIDError(f"{path.name} has a header that cannot be read: {error}. Choose another file.") from None
    found, number = header.get("kind"), header.get("version")
    if found != kind:
        raise SlotIDError(f"{path.name} holds a {str(found)[:50]!r} where a {kind!r} is needed. Choose another file.")
    if type(number) is not int or number < 0:
        raise SlotIDError(f"{path.name} has no format version. Choose another file.")
    if number > version:
        raise SlotIDError(f"{path.name} has format version {number}; this pack reads up to {version}. Update the pack.")
    return header


def load_weights(path: str | os.PathLike, kind: str, version: int) -> tuple[dict[str, Tensor], dict]:
    """Tensors on the CPU, and the header; errors as `read_header` and `read_tensors`."""
    header = read_header(path, kind, version)
    return read_tensors(path)[0], header


@contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Errors raised within say which file they are about."""
    try:
        yield
    except SlotIDError as error:
        name = os.path.basename(path)
        if name in str(error):
            raise
        raise SlotIDError(f"{name}: {error}") from error


@contextmanager
def _open(path: str | os.PathLike) -> Iterator[Any]:
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

    Trainers write them into an entry "state_dict", beside what else they keep.

    Raises:
        SlotIDError: damaged, not such a file, or with NaN or infinity.
    """
    name = os.path.basename(path)
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what the unpickler meets in a damaged file can end in any of them
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SlotIDError(f"{name} cannot be read ({reason}). It is damaged; download it again.") from error
    if isinstance(tensors, dict) and isinstance(tensors.get("state_dict"), dict):
        tensors = tensors["state_dict"]
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise SlotIDError(f"{name} holds something other than tensors by name. Choose another file.")
    with naming(path):
        check_finite(tensors)
    return tensors


def with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
