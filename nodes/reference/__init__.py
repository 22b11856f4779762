"""A reference clip: read it, follow the face, choose the portrait, judge it."""

from . import faces, report, video

NODES = [*video.NODES, *faces.NODES, *report.NODES]
