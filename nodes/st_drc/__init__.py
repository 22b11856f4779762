"""ST-DRC's nodes."""

from . import apply, face, load, person
from .paths import register_folders

__all__ = ["NODES", "register_folders"]

NODES = [*load.NODES, *face.NODES, *person.NODES, *apply.NODES]
