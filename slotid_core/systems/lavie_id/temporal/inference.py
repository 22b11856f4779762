"""How preparation and evaluation use the module; see `contract.Refinement`."""

import os

from .file import load_temporal
from .module import TemporalModule


class TemporalRefinement:
    required_tensors: tuple[str, ...] = ()  # no person is made of anything
    shipped_file = "lavie_id_temporal.safetensors"

    def load(self, path: str | os.PathLike) -> TemporalModule:
        return load_temporal(path)


INFERENCE = TemporalRefinement()
