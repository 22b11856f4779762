"""How much a finished video looks like the person."""

from . import likeness

__all__ = ["NODES"]

NODES = [*likeness.NODES]
