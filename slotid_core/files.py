"""Small files that appear whole or not at all."""

import json
import os
from pathlib import Path

UNFINISHED = ".part"


def write_json(path: str | os.PathLike, values: dict, sort_keys: bool = False) -> None:
    path = Path(path)
    unfinished = path.with_name(f".{path.name}{UNFINISHED}")
    unfinished.write_text(json.dumps(values, indent=2, sort_keys=sort_keys) + "\n", encoding="utf-8")
    os.replace(unfinished, path)
