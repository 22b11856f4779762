"""The sockets of this pack; everything else on our nodes is ComfyUI's own."""

from comfy_api.latest import io

Adapter = io.Custom("SLOTID_ADAPTER")
Stream = io.Custom("SLOTID_STREAM")
Gate = io.Custom("SLOTID_GATE")
Identity = io.Custom("SLOTID_IDENTITY")
LynxAdapter = io.Custom("LYNX_ADAPTER")
LynxFace = io.Custom("LYNX_FACE")
LynxReference = io.Custom("LYNX_REFERENCE")
