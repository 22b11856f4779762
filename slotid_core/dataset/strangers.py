"""Which samples that are said to show one person do not, by the vectors of a face recogniser."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import SlotIDError
from ..recognisers.recogniser import Recogniser
from ..recognisers.recognisers import find_recogniser
from ..reference.faces.face import area
from .config import PrepareConfig

LIKENESS = "likeness"  # tensor (D,) of a sample: the unit vector of its face picture


class Resemblance:
    """Whether pictures show one person, by the recogniser of the settings.

    Raises:
        SlotIDError: it cannot run, or nobody has said at which cosine it parts two people.
    """

    def __init__(self, config: PrepareConfig):
        self.recogniser: Recogniser = find_recogniser(config.recogniser, config.detector_models)
        self.least = least_of(config, self.recogniser)

    def vector(self, picture: Tensor) -> Tensor:
        """(1, P, P, 3) in [0, 1] -> (D,) of the largest face; NaN (1,) where none is found."""
        pixels = (picture[0] * 255).round().clamp(0, 255).byte().numpy()
        face = max(self.recogniser.look(pixels), key=lambda found: area(found.box), default=None)
        if face is None or face.embedding is None:
            return torch.full((1,), float("nan"), dtype=torch.float16)
        return torch.from_numpy(np.asarray(face.embedding)).half()

    def shows(self, look: Tensor, known: Tensor) -> bool:
        """Whether a picture shows the person of a vector; one in which no face is found does not."""
        return alike(self.vector(look), known, self.least)


def least_of(config: PrepareConfig, recogniser: Recogniser) -> float:
    least = recogniser.threshold if config.least_resemblance is None else config.least_resemblance
    if np.isnan(least):
        raise SlotIDError(
            f"Nobody has measured at which cosine {recogniser.name} parts two people. Set least_resemblance, or choose "
            "another recogniser."
        )
    return float(least)


def alike(one: Tensor, other: Tensor, least: float) -> bool:
    """Whether two unit vectors are as near as `least`; NaN is near to nothing."""
    return one.shape == other.shape and bool(one.double() @ other.double() >= least)


def strangers_in(samples: Iterable[tuple[str, str, Callable[[], Tensor]]], least: float) -> tuple[list[list[str]], int]:
    """Pairs of keys of samples of one name that do not show one person, and how many pairs there are.

    A sample in which no face was found makes no pair with any.

    Args:
        samples: key, name of the person, and a function that reads the vector.
    """
    people: dict[str, list[tuple[str, Callable[[], Tensor]]]] = defaultdict(list)
    for key, person, read in samples:
        people[person].append((key, read))
    apart, count = [], 0
    for members in people.values():
        if len(members) < 2:
            continue
        known = [(key, read()) for key, read in members]
        for (one, first), (other, second) in combinations(known, 2):
            count += 1
            if not alike(first, second, least):
                apart.append([one, other])
    return apart, count


def read_tensor(path: Path, offset: int, name: str) -> Tensor:
    """One float16 vector of the safetensors that begin at `offset` of a file, without the others."""
    with path.open("rb") as file:
        file.seek(offset)
        length = int.from_bytes(file.read(8), "little")
        place = json.loads(file.read(length))[name]
        start, end = place["data_offsets"]
        file.seek(offset + 8 + length + start)
        return torch.from_numpy(np.frombuffer(file.read(end - start), np.float16).copy())
