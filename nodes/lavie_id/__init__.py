"""LaVieID's nodes."""

from . import apply, load, maps, mix, paths, person, temporal, temporal_paths

__all__ = ["NODES", "register_folders"]

NODES = [*load.NODES, *person.NODES, *mix.NODES, *apply.NODES, *maps.NODES, *temporal.NODES]


def register_folders() -> None:
    paths.register_folders()
    temporal_paths.register_folders()
