"""Spoilt weight files of every kind that the pack reads, each loaded in a child."""

import random
from pathlib import Path

from ..core.weight_files import LOADERS, TOY_PARTS, good_file
from .outside import Outside
from .spoilt_weights import WAYS
from .table import Row
from .watched import Watched

COUNT = 1000
OTHER_KIND = 0.03  # of the files are whole, and of another kind


def attack(count: int, seed: int, folder: Path, outside: Outside) -> Row:
    """Every kind in turn, spoilt in every way in turn; a case is repeated by its kind, way and seed."""
    row = Row("weight files")
    folder.mkdir()
    whole = {kind: good_file(kind, folder).read_bytes() for kind in LOADERS}
    with Watched(outside, folder / "child.log") as child:
        for number in range(count):
            rng = random.Random(f"{seed} weights {number}")
            kind = list(LOADERS)[number % len(LOADERS)]
            content, way = spoilt(kind, whole, rng)
            path = folder / f"{TOY_PARTS.get(kind, f'{kind}_{number}')}.safetensors"
            path.write_bytes(content)
            kept = row.problems[:]
            child.attack(row, f"{kind}, {way}, number {number} of seed {seed}", {
                "kind": "weights", "loader": kind, "path": str(path),
            })  # fmt: skip
            if row.problems == kept:
                path.unlink()
            else:
                path.rename(folder / f"failed_{number}_{path.name}")
    return row


def spoilt(kind: str, whole: dict[str, bytes], rng: random.Random) -> tuple[bytes, str]:
    """Bytes of a spoilt file, and the names of the ways."""
    if rng.random() < OTHER_KIND:
        other = rng.choice([name for name in whole if name != kind])
        return whole[other], f"a file of kind {other}"
    way = rng.choice(WAYS)
    content, names = way(whole[kind], rng), way.__name__
    return content, names
