"""Slot-ID for ComfyUI: registers the pack; nothing else happens at import."""

# Without the guard, pytest, which imports this file on its own when it collects the repository, would fail here.
if __package__:
    from comfy_api.latest import ComfyExtension

    from .nodes import NODES

    WEB_DIRECTORY = "./web"

    class SlotIDExtension(ComfyExtension):
        async def get_node_list(self):
            return NODES

    async def comfy_entrypoint() -> SlotIDExtension:
        return SlotIDExtension()
