"""What a user should know about a run that went through: shown on the node, and written to the server's log."""

import logging

from comfy_api.latest import io
from comfy_execution.utils import get_executing_context

NOTHING_LEFT = "No warnings."
_warned: set[tuple[str | None, str]] = set()  # client and node whose page shows a warning


def say(node_cls: type[io.ComfyNode], text: str) -> None:
    """Show a fact about the run on the node, such as how many passes a step takes, and log it."""
    logging.info("Slot-ID, %s: %s", (node_cls.SCHEMA or node_cls.define_schema()).display_name, text)
    context = get_executing_context()
    if context is not None:
        from server import PromptServer

        PromptServer.instance.send_progress_text(text, context.node_id, PromptServer.instance.client_id)


def warn(node_cls: type[io.ComfyNode], text: str) -> None:
    """Show `text` on the node that runs, in the page that queued it, and log it.

    Call it once in `execute` with everything there is to say, a line each; a second call replaces the first. Call it
    with "" where nothing is wrong, or the page keeps the warning of an earlier run.
    Outside a server's run there is no page, and the text is logged alone.
    """
    if text:
        # A node that runs is a locked copy of its class, of which the schema can be read and not asked for.
        schema = node_cls.SCHEMA or node_cls.define_schema()
        logging.warning("Slot-ID, %s: %s", schema.display_name, text)
    context = get_executing_context()
    if context is None:
        return
    from server import PromptServer

    server = PromptServer.instance
    place = (server.client_id, context.node_id)
    if text:
        _warned.add(place)
        server.send_progress_text(f"⚠ {text}", context.node_id, server.client_id)
    elif place in _warned:
        _warned.discard(place)
        server.send_progress_text(NOTHING_LEFT, context.node_id, server.client_id)  # the page ignores empty texts
