"""LaVieID's nodes."""

from . import temporal
from .temporal_paths import register_folders

__all__ = ["NODES", "register_folders"]

NODES = [*temporal.NODES]
