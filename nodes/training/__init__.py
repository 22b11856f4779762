"""Preparation and training of any system, in a child process."""

from . import prepare, train

NODES = [*prepare.NODES, *train.NODES]
