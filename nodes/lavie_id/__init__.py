"""LaVieID's nodes."""

from . import apply, load, maps, person
from .paths import register_folders

__all__ = ["NODES", "register_folders"]

NODES = [*load.NODES, *person.NODES, *apply.NODES, *maps.NODES]
