"""Slot-ID for ComfyUI: registers the pack; nothing else happens at import."""

from importlib.util import find_spec

# Outside ComfyUI there is nothing to register: pytest imports this file when it collects the repository.
if find_spec("comfy_api"):
    from comfy_api.latest import ComfyExtension

    from .nodes import NODES

    WEB_DIRECTORY = "./web/start"

    class SlotIDExtension(ComfyExtension):
        async def get_node_list(self):
            return NODES

    async def comfy_entrypoint() -> SlotIDExtension:
        return SlotIDExtension()
