"""Slot-ID's nodes."""

from . import blend, encode, identity, load, mix, model
from .paths import register_folders

__all__ = ["NODES", "register_folders"]

NODES = [*load.NODES, *encode.NODES, *blend.NODES, *identity.NODES, *mix.NODES, *model.NODES]
