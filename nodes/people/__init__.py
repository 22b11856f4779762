"""Nodes about people whatever the system: where each of several is in a frame, what a saved video says of who is in it,
and the page's browser of saved people.
"""

from server import PromptServer

from . import note, region, routes

NODES = [*region.NODES, *note.NODES]
if getattr(PromptServer, "instance", None) is not None:  # tests import nodes without a server
    routes.register(PromptServer.instance.routes)
