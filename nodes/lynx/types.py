"""Lynx's sockets and its place in the menu."""

from comfy_api.latest import io

CATEGORY = "Slot-ID/Lynx"

Adapter = io.Custom("LYNX_ADAPTER")
Face = io.Custom("LYNX_FACE")
Reference = io.Custom("LYNX_REFERENCE")
