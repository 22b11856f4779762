"""Face recognisers by name, found where their files lie; nothing is downloaded."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import SlotIDError
from .recogniser import NotHere, Recogniser

Find = Callable[[tuple[str, ...]], Recogniser]


def _dlib(folders: tuple[str, ...]) -> Recogniser:
    from .dlib_faces import find_dlib

    return find_dlib()


def _arcface(folders: tuple[str, ...]) -> Recogniser:
    from .onnx_faces import find_arcface

    return find_arcface(folders)


def _curricular(folders: tuple[str, ...]) -> Recogniser:
    from .torch_faces import find_curricular

    return find_curricular(folders)


def _ir_se50(folders: tuple[str, ...]) -> Recogniser:
    from .torch_faces import find_ir_se50

    return find_ir_se50(folders)


def _toy(folders: tuple[str, ...]) -> Recogniser:
    from .torch_faces import find_toy

    return find_toy()


# In the order of preference. Drawn people are asked for by name, as no recogniser of photographs knows them.
BACKENDS: dict[str, Find] = {
    "dlib": _dlib, "arcface": _arcface, "curricular": _curricular, "ir_se50": _ir_se50, "toy": _toy,
}  # fmt: skip
OF_PHOTOGRAPHS = ("dlib", "arcface", "curricular", "ir_se50")
# Networks that systems read a face embedding from, so that their score says how well the condition was copied.
CONDITIONING = ("ir_se50", "toy")


def find_recogniser(name: str, folders: Sequence[Path | str] = ()) -> Recogniser:
    """The recogniser of that name.

    Raises:
        SlotIDError: there is none of that name, or it cannot run, with what to do about it.
    """
    if name not in BACKENDS:
        raise SlotIDError(f"There is no recogniser {name!r}. Choose some of {', '.join(BACKENDS)}.")
    try:
        return BACKENDS[name](tuple(str(folder) for folder in folders))
    except NotHere as error:
        raise SlotIDError(f"The recogniser {name} cannot run: {error}") from error


def find_recognisers(
    names: Sequence[str] = (), folders: Sequence[Path | str] = ()
) -> tuple[list[Recogniser], dict[str, str]]:
    """All recognisers that can run, and of the others the reason.

    Args:
        names: these, each of which must run; else all of photographs that can.

    Raises:
        SlotIDError: one of `names` cannot run, or none can at all.
    """
    if names:
        return [find_recogniser(name, folders) for name in dict.fromkeys(names)], {}
    found, missing = [], {}
    for name in OF_PHOTOGRAPHS:
        try:
            found.append(BACKENDS[name](tuple(str(folder) for folder in folders)))
        except NotHere as error:
            missing[name] = str(error)
    if not found:
        raise SlotIDError("No face recogniser can run. " + " ".join(f"{name}: {why}" for name, why in missing.items()))
    return found, missing
