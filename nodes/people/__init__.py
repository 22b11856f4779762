"""Nodes about people whatever the system: what a video says of who is in it."""

from . import note

NODES = note.NODES
