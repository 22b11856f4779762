"""Lynx's nodes."""

from . import apply, face, load, mix, reference
from .paths import register_folders

__all__ = ["NODES", "register_folders"]

NODES = [*load.NODES, *apply.NODES, *face.NODES, *reference.NODES, *mix.NODES]
