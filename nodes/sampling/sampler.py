"""All in one: guider, sampler, scheduler and preview."""

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ..shared.inputs import fraction_input
from .guider import CATEGORY, GUIDANCE_INPUTS, make_guider


class SlotIDSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDSampler",
            display_name="Slot-ID Sampler",
            category=CATEGORY,
            description="Samples a video of the person, with separate scales for prompt and person.",
            inputs=[
                io.Model.Input("model", tooltip="A MODEL from Apply Slot-ID Identity, Apply Lynx or Apply ST-DRC."),
                io.Conditioning.Input("positive", tooltip="The prompt."),
                io.Conditioning.Input("negative", tooltip="The negative prompt; may be empty."),
                io.Latent.Input(
                    "latent", tooltip="An empty Wan video latent for text to video, or one to continue from."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Noise seed. The same seed and settings give the same video.",
                ),
                io.Int.Input(
                    "steps",
                    default=20,
                    min=1,
                    max=1000,
                    tooltip="Sampling steps. 20 to 50 for Wan, 4 to 8 with a distilled model or LoRA.",
                ),
                *GUIDANCE_INPUTS,
                io.Combo.Input(
                    "sampler_name",
                    options=comfy.samplers.SAMPLER_NAMES,
                    default="uni_pc",
                    tooltip="Solver. Wan's own is uni_pc; euler is the plainest.",
                ),
                io.Combo.Input(
                    "scheduler",
                    options=comfy.samplers.SCHEDULER_NAMES,
                    default="simple",
                    tooltip="Spacing of noise levels. 'simple' is usual for Wan.",
                ),
                fraction_input(
                    "denoise",
                    1.0,
                    "Share of the noise range to sample, 0 to 1. 1 for a new video; less keeps the latent.",
                ),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip="For VAE Decode.")],
        )

    @classmethod
    def execute(
        cls, model, positive, negative, latent, seed, steps, text_scale, identity_scale, order,
        sampler_name, scheduler, denoise,
    ) -> io.NodeOutput:  # fmt: skip
        guider = make_guider(model, positive, negative, text_scale, identity_scale, order)
        samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
        if not torch.isfinite(samples).all():
            raise SlotIDError("The latent holds NaN or infinity. Make a new one, or encode the video again.")
        noise = comfy.sample.prepare_noise(samples, seed, latent.get("batch_index"))
        ksampler = comfy.samplers.KSampler(
            model, steps, model.load_device, sampler_name, scheduler, denoise, model.model_options
        )
        result = guider.sample(
            noise,
            samples,
            comfy.samplers.sampler_object(sampler_name),
            ksampler.sigmas,
            denoise_mask=latent.get("noise_mask"),
            callback=latent_preview.prepare_callback(model, ksampler.steps),
            disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
            seed=seed,
        )
        return io.NodeOutput({**latent, "samples": result.cpu()})


NODES = [SlotIDSampler]
