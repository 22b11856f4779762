"""The guider with separate scales for text and identity."""

import math

import comfy.samplers
from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ...slotid_core.wan.guidance import OFF, ORDERS, GuidanceOrder, Refinement, guided_latents, scales_in_order
from ..shared import patching
from ..shared.inputs import fraction_input

CATEGORY = "Slot-ID/sampling"
REFINEMENT = "slotid_refinement"  # attachment of a MODEL: what is done to the steps of guidance
POST_CFG = "sampler_post_cfg_function"  # core's name in model_options for what acts on the result of all guidance

GUIDANCE_INPUTS = [
    io.Float.Input(
        "text_scale",
        default=5.0,
        min=0.0,
        max=30.0,
        step=0.1,
        tooltip="Guidance scale of the prompt, 0 to 30. Wan is usually run at 4 to 6; 1 for distilled models.",
    ),
    io.Float.Input(
        "identity_scale",
        default=5.0,
        min=0.0,
        max=30.0,
        step=0.1,
        tooltip="Guidance scale of the person, 0 to 30. Equal to text_scale it is ordinary guidance and costs nothing "
        "extra; otherwise each step takes a third pass. Raise it for likeness, lower it for freedom of pose.",
    ),
    io.Combo.Input(
        "order",
        options=list(ORDERS),
        default=ORDERS[0],
        tooltip="Which guidance is measured alone and which on top of the other. 'text first' holds the scene, "
        "'identity first' holds the person. No effect at equal scales.",
    ),
]


class IdentityGuider(comfy.samplers.CFGGuider):
    """Classifier-free guidance over (∅,∅), one of (c,∅) or (∅,id), and (c,id); see `wan.guidance`.

    Rows get the identity by the names under which conditionings are registered here.
    """

    def set_guidance(self, positive, negative, text_scale: float, identity_scale: float, order: GuidanceOrder):
        self.scales = scales_in_order(order, text_scale, identity_scale)
        conds = {"positive": positive, "negative": negative}
        if not math.isclose(text_scale, identity_scale):
            if order == "text first":
                conds["text"] = positive
            else:
                conds[patching.NEGATIVE_WITH_IDENTITY] = negative
        self.inner_set_conds(conds)
        self.set_cfg(text_scale)

    def predict_noise(self, x, timestep, model_options=None, seed=None):
        model_options = model_options or {}
        middle = self.conds.get("text", self.conds.get(patching.NEGATIVE_WITH_IDENTITY))
        refinement = self.model_patcher.get_attachment(REFINEMENT) or OFF
        if middle is None and (refinement.is_off or math.isclose(self.cfg, 1.0)):
            return super().predict_noise(x, timestep, model_options, seed)
        if not refinement.is_off:
            return self.predict_refined(x, timestep, model_options, refinement)
        first_scale, second_scale = self.scales
        negative, positive = self.conds["negative"], self.conds["positive"]
        text_is_middle = "text" in self.conds
        acts = patching.somebody_acts(model_options, timestep)
        skip_negative = math.isclose(first_scale, 1.0) and not model_options.get("disable_cfg1_optimization", False)
        skip_negative = skip_negative and (acts or text_is_middle)
        conds = [None if skip_negative else negative, middle if acts else None, positive]
        negative_out, middle_out, positive_out = comfy.samplers.calc_cond_batch(
            self.inner_model, conds, x, timestep, model_options
        )
        if not acts:  # without a person, the middle is one of the others
            middle_out = positive_out if text_is_middle else negative_out
        before_post = {name: value for name, value in model_options.items() if name != POST_CFG}
        guided = comfy.samplers.cfg_function(
            self.inner_model, middle_out, negative_out, first_scale, x, timestep,
            model_options=before_post, cond=middle, uncond=negative,
        )  # fmt: skip
        guided = guided + second_scale * (positive_out - middle_out)
        return self.after_guidance(guided, negative_out, positive_out, x, timestep, model_options)

    def predict_refined(self, x, timestep, model_options, refinement: Refinement):
        """With refined steps, every stream that a step begins or ends with is predicted, whatever its scale."""
        middle = self.conds.get("text", self.conds.get(patching.NEGATIVE_WITH_IDENTITY))
        acts = patching.somebody_acts(model_options, timestep)
        conds = [self.conds["negative"], middle if acts else None, self.conds["positive"]]
        negative, middle_out, positive = comfy.samplers.calc_cond_batch(
            self.inner_model, conds, x, timestep, model_options
        )
        first_scale, second_scale = self.scales
        if middle is None or not acts:
            # Without a person there is one step, to the prompt.
            middle_out, second_scale = None, first_scale if "text" in self.conds else second_scale
        guided = guided_latents(negative, middle_out, positive, first_scale, second_scale, refinement)
        return self.after_guidance(guided, negative, positive, x, timestep, model_options)

    def after_guidance(self, guided, negative_out, positive_out, x, timestep, model_options):
        """What acts on the result of all guidance, such as core's nodes that set a post-CFG function."""
        for change in model_options.get(POST_CFG, []):
            guided = change(
                {
                    "denoised": guided, "cond": self.conds["positive"], "uncond": self.conds["negative"],
                    "cond_scale": self.scales[0], "model": self.inner_model, "uncond_denoised": negative_out,
                    "cond_denoised": positive_out, "sigma": timestep, "model_options": model_options, "input": x,
                }
            )  # fmt: skip
        return guided


def make_guider(model, positive, negative, text_scale, identity_scale, order) -> IdentityGuider:
    if not patching.has_identity(model):
        raise SlotIDError(
            "The MODEL has no identity. Put Apply Slot-ID Identity, Apply Lynx or Apply ST-DRC before this node."
        )
    guider = IdentityGuider(model)
    guider.set_guidance(positive, negative, text_scale, identity_scale, order)
    return guider


class SlotIDGuider(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDGuider",
            display_name="Slot-ID Guider",
            category=CATEGORY,
            description="Guidance with one scale for the prompt and one for the person, for SamplerCustomAdvanced.",
            inputs=[
                io.Model.Input("model", tooltip="A MODEL from Apply Slot-ID Identity, Apply Lynx or Apply ST-DRC."),
                io.Conditioning.Input("positive", tooltip="The prompt."),
                io.Conditioning.Input("negative", tooltip="The negative prompt; may be empty."),
                *GUIDANCE_INPUTS,
            ],
            outputs=[io.Guider.Output(display_name="guider", tooltip="For SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(cls, model, positive, negative, text_scale, identity_scale, order) -> io.NodeOutput:
        return io.NodeOutput(make_guider(model, positive, negative, text_scale, identity_scale, order))


class SlotIDRefineGuidance(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SlotIDRefineGuidance",
            display_name="Refine Guidance (Slot-ID)",
            category=CATEGORY,
            description="Against burnt colours at high scales, for Slot-ID Guider and Slot-ID Sampler. As it stands, "
            "it changes nothing.",
            inputs=[
                io.Model.Input("model", tooltip="A MODEL, before or after the node that applies a person."),
                fraction_input(
                    "parallel",
                    1.0,
                    "Adaptive projected guidance: weight, 0 to 1, of what only makes the picture stronger. 1 is "
                    "ordinary guidance; try 0.5 if colours burn. Likeness falls a little.",
                ),
                io.Float.Input(
                    "norm_limit",
                    default=0.0,
                    min=0.0,
                    max=1000.0,
                    step=1.0,
                    tooltip="Largest length of a step of guidance in each frame's latents, 0 to 1000; 0 is no limit. "
                    "Try 50 if single frames flash.",
                ),
                fraction_input(
                    "rescale",
                    0.0,
                    "Share, 0 to 1, to which the result gets the contrast of the prediction without guidance. Try 0.7 "
                    "if contrast is too high; too much looks flat.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="For Slot-ID Guider or Slot-ID Sampler.")],
        )

    @classmethod
    def execute(cls, model, parallel, norm_limit, rescale) -> io.NodeOutput:
        patched = model.clone()
        patched.set_attachments(REFINEMENT, Refinement(parallel, norm_limit, rescale))
        return io.NodeOutput(patched)


NODES = [SlotIDGuider, SlotIDRefineGuidance]
