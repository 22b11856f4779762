"""LaVieID's sockets and its place in the menu."""

from comfy_api.latest import io

CATEGORY = "Slot-ID/LaVieID"

Adapter = io.Custom("LAVIEID_ADAPTER")
Person = io.Custom("LAVIEID_PERSON")
