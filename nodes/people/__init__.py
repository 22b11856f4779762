"""Several people in one video: where each of them is."""

from . import region

NODES = [*region.NODES]
