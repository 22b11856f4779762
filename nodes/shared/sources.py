"""Which files of the input folder a node's inputs were made of, read off the prompt that runs."""

import os
from pathlib import Path

from comfy_api.latest import io
from comfy_execution.utils import get_executing_context

from ...slotid_core.errors import SlotIDError
from . import paths

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".mp4", ".mov", ".webm", ".mkv", ".avi", ".m4v")


def source_files(node_cls: type[io.ComfyNode], first: str) -> dict[str, Path]:
    """Pictures and clips of the input folder that the nodes before this one name, by that name.

    Args:
        node_cls: the node that runs; its schema has the hidden prompt.
        first: the input to follow; what other inputs are made of does not count.
    """
    context = get_executing_context()
    prompt = node_cls.hidden.prompt if node_cls.hidden else None
    if context is None or not isinstance(prompt, dict):
        return {}
    found: dict[str, Path] = {}
    waiting, seen = _links({first: _inputs(prompt, context.node_id).get(first)}), set()
    while waiting:
        node_id = waiting.pop()
        if node_id in seen:
            continue
        seen.add(node_id)
        inputs = _inputs(prompt, node_id)
        waiting += _links(inputs)
        for value in inputs.values():
            if isinstance(value, str) and (path := _file(value)):
                found[value] = path
    return found


def _inputs(prompt: dict, node_id: str) -> dict:
    node = prompt.get(node_id)
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return inputs if isinstance(inputs, dict) else {}


def _links(inputs: dict) -> list[str]:
    values = inputs.values()
    return [value[0] for value in values if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)]


def _file(name: str) -> Path | None:
    name = name.removesuffix("[input]").strip()
    if not name.lower().endswith(ENDINGS):
        return None
    try:
        path = paths.input_path(name, "The source")
    except SlotIDError:
        return None
    return Path(path) if os.path.isfile(path) else None
