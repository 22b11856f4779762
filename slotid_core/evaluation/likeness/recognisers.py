"""Face recognisers behind one interface, found where their files lie; nothing is downloaded.

Cosines of two recognisers cannot be compared: dlib's are .8 for two strangers, ArcFace's .0. So each comes with the
cosine that strangers and the same person have on average; `calibrated` puts strangers at 0, the same person at 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import SlotIDError
from ...reference.faces.face import Face

Look = Callable[[np.ndarray], list[Face]]


@dataclass(frozen=True)
class Recogniser:
    """One network that tells people apart, with what finds the faces for it.

    Attributes:
        name: key of its figures.
        description: the network, its file and what finds faces, for the report.
        look: a frame (H, W, 3) uint8 RGB -> faces with boxes in pixels and unit vectors.
        stranger, same: mean cosines of two people and of one, on real faces (docs/scores.md); NaN if not measured.
        threshold: cosine that parts one person from two, where it was measured.
    """

    name: str
    description: str
    look: Look
    stranger: float = float("nan")
    same: float = float("nan")
    threshold: float = float("nan")

    def calibrated(self, cosine):
        """0 for strangers, 1 for the same person; NaN where the recogniser has not been measured."""
        return (cosine - self.stranger) / (self.same - self.stranger)


class NotHere(Exception):
    """A recogniser that cannot run, and what is needed for it."""


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


def unit(vector: np.ndarray) -> np.ndarray:
    vector = np.asarray(vector, dtype=np.float64).ravel()
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
