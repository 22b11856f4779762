"""Saved people of every system: the page's browser of their files, and a node that notes in a video who is in it."""

import sys

from . import note, routes

NODES = note.NODES
# Not imported here: tests import nodes without a server, behind core's `nodes`, which puts a module `utils` in front of
# the folder of that name that `server` needs.
server = sys.modules.get("server")
if server is not None and getattr(server.PromptServer, "instance", None) is not None:
    routes.register(server.PromptServer.instance.routes)
