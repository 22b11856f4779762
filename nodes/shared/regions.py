"""Where in the frame a person is: the socket, and the tokens of one model call."""

from collections.abc import Callable

import comfy.ldm.wan.model
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ...slotid_core.wan.hooks.regions import TokenRegion
from ...slotid_core.wan.region import Region
from . import models
from .patching import Call

RegionSocket = io.Custom("SLOTID_REGION")
# Models whose blocks get the video's tokens first, in the order of time, height and width.
PLAIN = ("WanModel", "VaceWanModel", "CameraWanModel")


def region_input() -> io.Input:
    return RegionSocket.Input(
        "region",
        optional=True,
        tooltip="From Slot-ID Region: the part of the frame that shows this person. Leave out for a single person. For "
        "several people chain one Apply node each, with a region each.",
    )


def check_region(model: ModelPatcher, region: Region | None) -> None:
    """
    Raises:
        SlotIDError: a model whose tokens are not laid out as a plain video's.
    """
    if region is None:
        return
    models.wan_shape(model)
    transformer = model.model.diffusion_model
    plain = tuple(getattr(comfy.ldm.wan.model, name) for name in PLAIN if hasattr(comfy.ldm.wan.model, name))
    if type(transformer) not in plain or getattr(transformer, "ref_conv", None) is not None:
        raise SlotIDError(
            f"A region needs the video's tokens in a plain order; this is {type(model.model).__name__} "
            f"({type(transformer).__name__}), as Fun with a reference, Animate or HuMo, which put others among them. "
            "Leave the region out, or use Wan text-to-video, image-to-video, VACE or camera control."
        )


def tokens_of_calls(region: Region | None) -> Callable[[Call], TokenRegion | None]:
    """The region's tokens in each call; None where there is no region, or where it is the whole frame."""
    if region is None or region.is_everything:
        return lambda call: None
    made: dict[tuple, TokenRegion] = {}

    def tokens(call: Call) -> TokenRegion:
        device, frames = call.context.device, call.frames
        key = (call.grid, device, frames)
        if key not in made:
            if len(made) > 64:  # sizes of video and context windows; a person's mask may differ in each
                made.clear()
            made[key] = region.tokens(call.grid, device, frames)
        return made[key]

    return tokens
