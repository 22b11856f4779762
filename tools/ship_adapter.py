"""Put a trained adapter among the toy world's weights, with a manifest of how it came to be and what was measured.

python -m tools.ship_adapter FILE NAME [--history TEXT] [--figures FILE]

NAME is that of the file in weights, such as st_drc_adapter. Paths of this machine become relative ones in its header.
"""

import argparse
import json
from pathlib import Path, PurePath
from typing import Any

from slotid_core.files import read_json, write_json
from slotid_core.toy_world.family import WEIGHTS, machine
from slotid_core.weights import HEADER_KEY, read_tensors, save_weights


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.ship_adapter", description=__doc__)
    parser.add_argument("file", type=Path, help="adapter.safetensors of a finished training")
    parser.add_argument("name", help="of the file in weights, without ending")
    parser.add_argument("--history", default="", help="what the settings of the last training do not say")
    parser.add_argument("--figures", type=Path, help="a flat JSON of what was measured")
    options = parser.parse_args(arguments)
    path = ship_adapter(options.file, WEIGHTS / f"{options.name}.safetensors", options.history, options.figures)
    print(f"{path}, {path.stat().st_size:,} bytes")
    return 0


def ship_adapter(source: Path, target: Path, history: str = "", figures: Path | None = None) -> Path:
    tensors, metadata = read_tensors(source)
    header = without_machine(json.loads(metadata[HEADER_KEY]))
    save_weights(target, tensors, header)
    training = header["training"]
    manifest = {
        "part": target.stem,
        "steps": training["steps"],
        "seed": training["training_config"]["run"]["seed"],
        "config": training["training_config"],
        "history": history,
        "metrics": {} if figures is None else read_json(figures, "Measure again."),
        "bytes": target.stat().st_size,
        "machine": machine(),
    }
    write_json(target.with_suffix(".json"), manifest, sort_keys=True)
    return target


def without_machine(value: Any) -> Any:
    """Absolute paths, wherever they stand, become what a user of the repository would have: output/FOLDER/FILE."""
    if isinstance(value, dict):
        return {key: without_machine(one) for key, one in value.items()}
    if isinstance(value, list):
        return [without_machine(one) for one in value]
    if isinstance(value, str) and PurePath(value).is_absolute():
        return str(PurePath("output", *PurePath(value).parts[-2:]))
    return value


if __name__ == "__main__":
    raise SystemExit(main())
