"""ST-DRC's sockets and its place in the menu."""

from comfy_api.latest import io

CATEGORY = "Slot-ID/ST-DRC"

Adapter = io.Custom("STDRC_ADAPTER")
Person = io.Custom("STDRC_PERSON")
