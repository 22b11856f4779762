"""What all systems share: inputs, files, patching of a MODEL, and the toy world's models."""

from . import toy_world
from .paths import register_folders

__all__ = ["NODES", "register_folders"]

NODES = [*toy_world.NODES]
