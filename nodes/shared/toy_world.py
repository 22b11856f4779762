"""The toy world's models in one step, so that the pack runs on a machine without any download."""

import comfy.sd
import comfy.utils
import torch
from comfy_api.latest import io

from ...slotid_core.toy_world.family import FLOW_SHIFT, part_path
from ...slotid_core.toy_world.random_checkpoints import random_checkpoints
from ...slotid_core.toy_world.text_encoder import umt5_config
from . import paths

# ComfyUI recognises umT5 by the shape of this tensor; the config below then gives the real size.
UMT5_MARKER = "encoder.block.23.layer.1.DenseReluDense.wi_1.weight"
UMT5_MARKER_SHAPE = (10240, 4096)


def load_text_encoder(path):
    """CLIP from a toy umT5 file, through ComfyUI's own loader."""
    weights = comfy.utils.load_torch_file(str(path), safe_load=True)
    config = umt5_config(vocab_size=weights["shared.weight"].shape[0])
    weights[UMT5_MARKER] = torch.zeros(1).expand(UMT5_MARKER_SHAPE)
    return comfy.sd.load_text_encoder_state_dicts(
        [weights], clip_type=comfy.sd.CLIPType.WAN, model_options={"umt5xxl_model_config": config}
    )


class SlotIDLoadToyWorld(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDLoadToyWorld",
            display_name="Load Toy World (Slot-ID demo)",
            category="Slot-ID/toy world",
            description="DEMO ONLY. Tiny models in Wan's exact format: they run the code that Wan 14B runs, on any "
            "machine, with no download. They draw cartoons or noise, never real people. For real videos, load Wan.",
            inputs=[
                io.Combo.Input(
                    "weights",
                    options=["trained", "random"],
                    default="trained",
                    tooltip="'trained': shipped with the pack; draws cartoon people for prompts in its few words. "
                    "'random': made on demand from a fixed seed; draws noise, for testing graphs.",
                )
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="A tiny Wan 2.1 text-to-video MODEL, width 256."),
                io.Clip.Output(display_name="clip", tooltip="A tiny umT5 text encoder, for CLIP Text Encode."),
                io.Vae.Output(display_name="vae", tooltip="A tiny Wan 2.1 VAE, for Encode Reference and VAE Decode."),
            ],
        )

    @classmethod
    def execute(cls, weights) -> io.NodeOutput:
        if weights == "random":
            made = random_checkpoints(paths.toy_world_folder())
            dit, text_encoder, vae = made.t2v, made.text_encoder, made.vae
        else:
            dit, text_encoder, vae = (part_path(part) for part in ("dit", "text_encoder", "vae"))
        model = comfy.sd.load_diffusion_model(str(dit))
        model.model.model_sampling.set_parameters(shift=FLOW_SHIFT)
        vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(vae), safe_load=True))
        return io.NodeOutput(model, load_text_encoder(text_encoder), vae)


NODES = [SlotIDLoadToyWorld]
