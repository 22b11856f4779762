"""Where in the frame a person is, for the Apply nodes of all systems."""

import torch
from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ...slotid_core.wan.region import Region, box
from ..shared.inputs import fraction_input
from ..shared.regions import RegionSocket

CATEGORY = "Slot-ID/people"
# Choice -> left, top, width, height, as shares of the frame.
PARTS = {
    "left half": (0.0, 0.0, 0.5, 1.0),
    "right half": (0.5, 0.0, 0.5, 1.0),
    "left third": (0.0, 0.0, 1 / 3, 1.0),
    "middle third": (1 / 3, 0.0, 1 / 3, 1.0),
    "right third": (2 / 3, 0.0, 1 / 3, 1.0),
}
BOX, MASK = "box", "mask"


class SlotIDRegion(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDRegion",
            display_name="Slot-ID Region",
            category=CATEGORY,
            description="The part of the frame that shows one person, for the Apply nodes of all systems. For several "
            "people, two people, regions, masks, multi-person.",
            inputs=[
                io.Combo.Input(
                    "where",
                    options=[*PARTS, BOX, MASK],
                    default="left half",
                    tooltip="A part of the frame; 'box' takes the four numbers below, 'mask' the connected mask.",
                ),
                fraction_input("x", 0.0, "Box only: its left edge, as a share of the frame's width, 0 to 1."),
                fraction_input("y", 0.0, "Box only: its upper edge, as a share of the frame's height, 0 to 1."),
                fraction_input("width", 0.5, "Box only: as a share of the frame's width, 0 to 1. Leave room to move."),
                fraction_input("height", 1.0, "Box only: as a share of the frame's height, 0 to 1."),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Mask only: white where the person is; of any size, laid over the frame. One mask is for "
                    "the whole video; a batch is for its frames, such as from a tracker.",
                ),
            ],
            outputs=[
                RegionSocket.Output(display_name="region", tooltip="For the region of an Apply node."),
                io.Mask.Output(display_name="mask", tooltip="The same as a mask, to look at."),
            ],
        )

    @classmethod
    def execute(cls, where, x, y, width, height, mask=None) -> io.NodeOutput:
        region = region_of(where, (x, y, width, height), mask)
        return io.NodeOutput(region, region.mask)


def region_of(where: str, sides: tuple[float, float, float, float], mask: torch.Tensor | None) -> Region:
    """
    Raises:
        SlotIDError: a mask is asked for and missing, or connected and not asked for; an empty box or mask.
    """
    if (where == MASK) != (mask is not None):
        raise SlotIDError(
            "'where' is 'mask', but no mask is connected. Connect one, or choose a part of the frame."
            if mask is None
            else f"A mask is connected, but 'where' is {where!r}. Choose 'mask', or disconnect it."
        )
    if mask is None:
        return box(*PARTS.get(where, sides))
    return Region(mask.float().cpu().reshape(-1, *mask.shape[-2:]))


NODES = [SlotIDRegion]
