"""What looking for NaN costs when weights of a large model are fetched: from the disk, and from memory.

As a 14B model is: matrices of 5120 x 13824 in bfloat16. Fetching is a copy of each weight, the least that casting it or
moving it to a GPU does.
"""

import os
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.paired import Ratio, compare_rarely
from slotid_core.finite import all_finite
from slotid_core.weights import read_tensors

MATRICES = 6  # 0.85 GB


def run() -> list[Ratio]:
    torch.manual_seed(0)
    matrix = torch.randn(5120, 13824, dtype=torch.bfloat16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_file({str(number): matrix.roll(number) for number in range(MATRICES)}, path)

        def fetch(look: bool, forget: bool) -> None:
            if forget:
                _forget(path)
            for tensor in read_tensors(path, check=False)[0].values():
                assert not look or all_finite(tensor)
                tensor.clone()

        size = f"{MATRICES * matrix.nbytes / 1e9:.1f} GB of weights"
        ratios = []
        for where, forget in (("the disk", True), ("memory", False)):
            claim = f"fetching {size} from {where}: with a look for NaN / without"
            ratios += compare_rarely(
                {claim: lambda forget=forget: fetch(True, forget)}, lambda forget=forget: fetch(False, forget)
            )
        claim = "a look for NaN: by bits / torch.isfinite"
        return ratios + compare_rarely({claim: lambda: all_finite(matrix)}, lambda: torch.isfinite(matrix).all())


def _forget(path: Path) -> None:
    """The system keeps no copy of the file in memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
