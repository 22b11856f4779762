"""The clean latents that each step predicts, changed on a ComfyUI MODEL."""

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...slotid_core.wan.hooks.latents import ChangeClean
from .models import wan_shape
from .patching import check_range


def change_clean_latents(
    model: ModelPatcher, change: ChangeClean, start_percent: float, end_percent: float
) -> ModelPatcher:
    """A clone of `model` that samples towards `change` of the clean latents of each step between start and end.

    `change` gets the latents in the space of the video model, and the noise level (B,), after all guidance. For
    Wan 2.1 this space is that of `wan.vae.normalize_latents`: ComfyUI's `process_latent_in` does the same.
    """
    wan_shape(model)
    check_range(start_percent, end_percent)

    def changed(args: dict) -> Tensor:
        sampling, sigma, clean = args["model"].model_sampling, args["sigma"], args["denoised"]
        start, end = sampling.percent_to_sigma(start_percent), sampling.percent_to_sigma(end_percent)
        if not end <= sigma.max() <= start:
            return clean
        return change(clean, sigma.float()).to(clean.dtype)

    patched = model.clone()
    patched.set_model_sampler_post_cfg_function(changed)
    return patched
