"""Train the small networks that `reference` ships, and write their files."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config import config_from_dict
from ..errors import SlotIDError
from ..files import read_json, write_json

NETWORKS = ("drawn_faces", "parts")


def main(arguments: list[str] | None = None) -> int:
    root = argparse.ArgumentParser(prog="python -m slotid_core.reference_training", description=__doc__)
    root.add_argument("--threads", type=int, default=0, help="CPU threads")
    commands = root.add_subparsers(required=True, metavar="command")
    for name, text in (("train", "train to the end, from the last checkpoint"), ("ship", "write the network's file")):
        command = commands.add_parser(name, help=text)
        command.add_argument("network", choices=NETWORKS)
        command.add_argument(
            "--portraits", default="", help="folder of the Face Research Lab London Set, scaled to 512"
        )
        command.add_argument("--config", type=Path, help="JSON file of settings; unknown ones are an error")
        command.add_argument("--folder", type=Path, default=Path("output/reference"), help="checkpoints and curves")
        command.add_argument("--weights", type=Path, help="file to write; default: inside the package")
        command.add_argument("--device", default="cpu", help="cpu, or cuda with a GPU")
        command.add_argument("--json", type=Path, help="write the figures to this file")
        command.set_defaults(run=run_train if name == "train" else run_ship)
    options = root.parse_args(arguments)
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    options.run(options)
    return 0


def run_train(options) -> None:
    train, _, config, _ = network(options)
    train(options.folder, config, options.device)
    run_ship(options)


def run_ship(options) -> None:
    _, finish, config, default = network(options)
    path = options.weights or default
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = finish(options.folder, path, config)
    print(f"{path} ({path.stat().st_size / 1e6:.2f} MB)")
    for name, value in figures.items():
        print(f"{name:<24} {value:.4f}")
    if options.json:
        write_json(options.json, figures)


def network(options) -> tuple[Callable, Callable, Any, Path]:
    """Training, finishing, settings and file of the network that was asked for."""
    if options.network == "drawn_faces":
        from ..reference.faces.drawn_faces import WEIGHTS
        from .train_drawn_faces import DrawnFacesTraining as Settings
        from .train_drawn_faces import finish_drawn_faces as finish
        from .train_drawn_faces import train_drawn_faces as train
    else:
        from ..reference.portrait.parts import WEIGHTS
        from .train_parts import PartsTraining as Settings
        from .train_parts import finish_parts as finish
        from .train_parts import train_parts as train
    config = config_from_dict(Settings, read_json(options.config, "Correct --config.") if options.config else {})
    return train, finish, replace(config, photographs=options.portraits or config.photographs), WEIGHTS


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SlotIDError as error:
        sys.exit(f"reference_training: {error}")
