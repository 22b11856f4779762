"""The guider with separate scales for text and identity."""

import math

import comfy.samplers
from comfy_api.latest import io

from ...slotid_core.errors import SlotIDError
from ...slotid_core.wan.guidance import OFF, ORDERS, GuidanceOrder, Refinement, guided_latents, scales_in_order
from ..shared import patching
from ..shared.inputs import fraction_input
from ..shared.warnings import say
from . import references

CATEGORY = "Slot-ID/sampling"
MIDDLE_EVERY = "slotid_middle_every"  # attachment of a MODEL: the middle prediction is computed once in so many steps
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


class KeptMiddle:
    """How far the middle prediction was from the full one, for steps that do not compute it."""

    def __init__(self):
        self.difference, self.sigma, self.age = None, None, 0

    def holds(self, timestep, every: int) -> bool:
        """Whether this step may do with what there is; a noise level above the last begins another run."""
        fresh = self.difference is not None and self.sigma is not None and timestep.max() <= self.sigma
        return fresh and self.age < every

    def middle(self, computed, full, timestep, keeps: bool, every: int):
        """The middle prediction, computed now or from what was kept."""
        self.sigma = timestep.max()
        if keeps:
            self.age += 1
            return full - self.difference
        self.difference, self.age = full - computed if every > 1 else None, 1
        return computed


class IdentityGuider(comfy.samplers.CFGGuider):
    """Classifier-free guidance over (∅,∅), one of (c,∅) or (∅,id), and (c,id); see `wan.guidance`.

    Rows get the identity by the names under which conditionings are registered here. On a MODEL that has none, id are
    the references which core's nodes put into the positive conditioning.
    """

    def set_guidance(self, positive, negative, text_scale: float, identity_scale: float, order: GuidanceOrder):
        self.scales, self.kept = scales_in_order(order, text_scale, identity_scale), KeptMiddle()
        by_references = not patching.has_identity(self.model_patcher)
        text_alone = references.without_references(positive) if by_references else positive
        empty = references.without_references(negative) if by_references else negative
        conds = {"positive": positive, "negative": empty}
        if not math.isclose(text_scale, identity_scale):
            if order == "text first":
                conds["text"] = text_alone
            else:
                person_alone = references.with_references_of(negative, positive) if by_references else negative
                conds[patching.NEGATIVE_WITH_IDENTITY] = person_alone
        self.inner_set_conds(conds)
        self.set_cfg(text_scale)

    def sample(self, *args, **kwargs):
        """One run. A guider is kept from prompt to prompt, and what one run predicted is nothing to the next, which may
        begin at the same noise level or have another size."""
        self.kept = KeptMiddle()
        try:
            return super().sample(*args, **kwargs)
        finally:
            self.kept = KeptMiddle()

    @property
    def middle_every(self) -> int:
        return self.model_patcher.get_attachment(MIDDLE_EVERY) or 1

    @property
    def has_middle(self) -> bool:
        return len(self.original_conds) > 2  # `conds` are there while it samples

    @property
    def passes(self) -> int:
        """Predictions of a step in which the person acts, all of `KeptMiddle`'s counted."""
        return len(self.original_conds) - int(self.skips_negative({}))

    def skips_negative(self, model_options: dict) -> bool:
        """Whether guidance to the middle prediction at scale 1 starts nowhere else."""
        refinement = self.model_patcher.get_attachment(REFINEMENT) or OFF
        return (
            refinement.is_off and math.isclose(self.scales[0], 1.0)
            and not model_options.get("disable_cfg1_optimization", False)
        )  # fmt: skip

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
        skip_negative = self.skips_negative(model_options) and (acts or text_is_middle)
        keeps = acts and self.kept.holds(timestep, self.middle_every)
        conds = [None if skip_negative else negative, middle if acts and not keeps else None, positive]
        negative_out, middle_out, positive_out = comfy.samplers.calc_cond_batch(
            self.inner_model, conds, x, timestep, model_options
        )
        if acts:
            middle_out = self.kept.middle(middle_out, positive_out, timestep, keeps, self.middle_every)
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
        keeps = acts and middle is not None and self.kept.holds(timestep, self.middle_every)
        conds = [self.conds["negative"], middle if acts and not keeps else None, self.conds["positive"]]
        negative, middle_out, positive = comfy.samplers.calc_cond_batch(
            self.inner_model, conds, x, timestep, model_options
        )
        if acts and middle is not None:
            middle_out = self.kept.middle(middle_out, positive, timestep, keeps, self.middle_every)
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
    if not patching.has_identity(model) and not references.has_references(positive):
        raise SlotIDError(
            "The MODEL has no identity, and the positive conditioning no references. Put Apply Slot-ID Identity, Apply "
            "Lynx, Apply ST-DRC or Apply LaVieID before this node, or connect core's Phantom or Bernini conditioning."
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
            description="Guidance with one scale for the prompt and one for the person, for SamplerCustomAdvanced. "
            "Also for the references of core's Phantom and Bernini conditionings.",
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="A MODEL from an Apply node. Or a bare one, where the conditionings carry references.",
                ),
                io.Conditioning.Input(
                    "positive",
                    tooltip="The prompt; on a bare MODEL from core's Phantom, Bernini or other reference node.",
                ),
                io.Conditioning.Input(
                    "negative",
                    tooltip="The negative prompt; may be empty. References in it are left out where guidance needs it.",
                ),
                *GUIDANCE_INPUTS,
            ],
            outputs=[io.Guider.Output(display_name="guider", tooltip="For SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(cls, model, positive, negative, text_scale, identity_scale, order) -> io.NodeOutput:
        guider = make_guider(model, positive, negative, text_scale, identity_scale, order)
        every = guider.middle_every
        kept = f", the middle one every {every} steps" if every > 1 and guider.has_middle else ""
        say(cls, f"{guider.passes} passes a step{kept}")
        return io.NodeOutput(guider)


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
                io.Int.Input(
                    "middle_every",
                    optional=True,
                    default=1,
                    min=1,
                    max=20,
                    tooltip="Steps, 1 to 20, for which the difference of prompt and person is used. 1 computes it in "
                    "each step; 2 saves every second one of the third passes. Raise it for speed.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="For Slot-ID Guider or Slot-ID Sampler.")],
        )

    @classmethod
    def execute(cls, model, parallel, norm_limit, rescale, middle_every=1) -> io.NodeOutput:
        patched = model.clone()
        patched.set_attachments(MIDDLE_EVERY, middle_every)
        patched.set_attachments(REFINEMENT, Refinement(parallel, norm_limit, rescale))
        return io.NodeOutput(patched)


NODES = [SlotIDGuider, SlotIDRefineGuidance]
