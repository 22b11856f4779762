"""Slot-ID's sockets and its place in the menu."""

from comfy_api.latest import io

CATEGORY = "Slot-ID"

Adapter = io.Custom("SLOTID_ADAPTER")
Stream = io.Custom("SLOTID_STREAM")
Gate = io.Custom("SLOTID_GATE")
Identity = io.Custom("SLOTID_IDENTITY")
