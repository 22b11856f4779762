"""The router's weights over a video, as pictures."""

import comfy.sample
import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ...slotid_core.systems.lavie_id import LaVieIDAdapter
from ...slotid_core.systems.lavie_id import Person as PersonFile
from ...slotid_core.systems.lavie_id.router_maps import legend, over_frames, router_maps
from ..shared.inputs import fraction_input
from ..shared.patching import CONDITIONINGS
from ..shared.seen import clip_file, hex_colour, show, with_ui
from ..shared.warnings import warn
from .patching import apply_person
from .types import CATEGORY, Adapter, Person

PATCH = 2  # latents of a token, along a side
SEED = 0
MOST_COMPONENTS = len(legend(null=False))  # weights of one more are those of the null component
LEGEND = ", ".join(name for name, _ in legend(null=False))


class LaVieIDRouterMaps(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="LaVieIDRouterMaps",
            display_name="LaVieID Router Maps",
            category=CATEGORY,
            description="Shows which component each part of a finished video is routed to, one colour a component: "
            "brows violet, eyes blue, mouth red, nose green, skin peach, hair brown, none grey.",
            inputs=[
                io.Model.Input("model", tooltip="The MODEL that was given to Apply LaVieID."),
                Adapter.Input("adapter", tooltip="From Load LaVieID Adapter."),
                Person.Input("person", tooltip="The person in the video."),
                io.Conditioning.Input("positive", tooltip="The prompt of the video."),
                io.Latent.Input("samples", tooltip="The finished video, from a sampler or VAE Encode."),
                fraction_input(
                    "noise_level",
                    0.2,
                    "Noise that is put on the video before the router looks, 0 to 1. 0.2 shows the end of sampling; "
                    "raise it to 0.8 to see what the router knows at the beginning.",
                ),
                io.Image.Input("frames", optional=True, tooltip="The decoded video; the maps are then laid over it."),
                fraction_input("opacity", 0.5, "Of the maps over frames, 0 to 1. Lower it to see the video better."),
            ],
            outputs=[
                io.Image.Output(display_name="maps", tooltip="A picture for each frame; for Save Video or Preview.")
            ],
        )

    @classmethod
    def execute(
        cls, model, adapter, person, positive, samples, noise_level, opacity, frames=None
    ) -> io.NodeOutput:  # fmt: skip
        uniform = not adapter.router.is_learned
        warn(cls, "This adapter routes nothing: every component has the same weight." if uniform else "")
        weights, grid = weights_over(model, adapter, person, positive, samples["samples"], noise_level)
        maps = router_maps(weights, grid)
        maps = maps if frames is None else over_frames(maps, frames, opacity)
        colours = [[name, hex_colour(colour)] for name, colour in legend(null=weights.shape[1] > MOST_COMPONENTS)]
        told = show("clip", title="Which component each part is routed to.", clip=clip_file(maps, 0.0), legend=colours)
        return with_ui(io.NodeOutput(maps), told)


def weights_over(
    model: ModelPatcher, adapter: LaVieIDAdapter, person: PersonFile, positive: list, latents: torch.Tensor,
    noise_level: float,
) -> tuple[torch.Tensor, tuple[int, int, int]]:  # fmt: skip
    """The router's weights (N, M) for each token of the first video, and its grid, from one forward pass.

    Raises:
        SlotIDError: these are no latents of a video of this model, or hold NaN.
    """
    channels = model.model.latent_format.latent_channels
    if latents.dim() != 5 or latents.shape[1] != channels:
        raise SlotIDError(
            f"Latents of shape {tuple(latents.shape)} came in; this MODEL's videos have shape (1, {channels}, frames, "
            "height, width). Connect the latents of a video that was sampled with it."
        )
    if not torch.isfinite(latents).all():
        raise SlotIDError("The latents hold NaN or infinite values. Look at the node that made them.")
    seen: list[torch.Tensor] = []

    def note(logits: torch.Tensor, rows: torch.Tensor) -> None:
        seen.append(logits[0].softmax(dim=1).cpu())

    patched = apply_person(model, adapter, person, 1.0, 0.0, 1.0, CONDITIONINGS["positive"], note)
    patched.model_options.pop("context_handler", None)  # one pass over the whole video
    first = latents[:1]
    noise = comfy.sample.prepare_noise(first, SEED, None)
    guider = comfy.samplers.CFGGuider(patched)
    guider.set_conds(positive, positive)
    guider.set_cfg(1.0)
    sigmas = torch.tensor([max(noise_level, 1e-3), 0.0])
    guider.sample(noise, first, comfy.samplers.sampler_object("euler"), sigmas, disable_pbar=True, seed=SEED)
    height, width = (-(-side // PATCH) for side in first.shape[3:])
    grid = (first.shape[2], height, width)
    if not seen or len(seen[-1]) != grid[0] * height * width:
        raise SlotIDError(
            "The router did not see the whole video in one pass. Connect the MODEL as it was before Apply LaVieID, "
            "without nodes that cut the video into parts."
        )
    return seen[-1], grid


NODES = [LaVieIDRouterMaps]
