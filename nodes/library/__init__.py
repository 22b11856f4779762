"""Saved people of every system: the page's browser of their files, and a node that notes in a video who is in it."""

from server import PromptServer

from . import note, routes

NODES = note.NODES
if getattr(PromptServer, "instance", None) is not None:  # tests import nodes without a server
    routes.register(PromptServer.instance.routes)
