"""What a user should know about a run that went through: shown on the node, and written to the server's log."""

import functools
import logging
from contextvars import ContextVar

from comfy_api.latest import io
from comfy_execution.utils import get_executing_context

from .finding import title
from .seen import with_ui

KEY = "slotid_warnings"  # of a node's `ui`, which the page reads (web/start/slotid.js)
_said: ContextVar[list[str] | None] = ContextVar("slotid_said", default=None)


def say(node_cls: type[io.ComfyNode], text: str) -> None:
    """Show a fact about the run on the node, such as how many passes a step takes, and log it."""
    logging.info("Slot-ID, %s: %s", _name(node_cls), text)
    context = get_executing_context()
    if context is not None:
        from server import PromptServer

        PromptServer.instance.send_progress_text(text, context.node_id, PromptServer.instance.client_id)


def warn(node_cls: type[io.ComfyNode], text: str) -> None:
    """Show `text` on the node that runs, and log it.

    Call it once in `execute` itself with everything there is to say, a line each; a second call replaces the first.
    Outside `execute` there is no node to show it on, and the text is logged alone.
    """
    if text:
        logging.warning("Slot-ID, %s: %s", _name(node_cls), text)
    said = _said.get()
    if said is not None:
        said[:] = [line for line in text.splitlines() if line.strip()]


def _name(node_cls: type[io.ComfyNode]) -> str:
    # A node that runs is a locked copy of its class, of which the schema can be read and not asked for.
    return title(node_cls.SCHEMA or node_cls.define_schema())


def with_warnings(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """The same class, whose `execute` hands what it warned of to the page.

    A node whose `execute` names `warn` says on every run what there is to say, nothing included: earlier warnings then
    go, and ComfyUI, which joins the runs of a list, finds the same keys in each.
    """
    execute = node.execute.__func__
    if "warn" not in execute.__code__.co_names:
        return node

    @functools.wraps(execute)
    def saying(cls, *values, **named):
        said: list[str] = []
        token = _said.set(said)
        try:
            output = execute(cls, *values, **named)
        finally:
            _said.reset(token)
        return with_ui(output, {KEY: said})

    node.execute = classmethod(saying)  # pyright: ignore[reportAttributeAccessIssue]
    return node
