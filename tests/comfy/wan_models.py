"""Wan models of ComfyUI with random weights, and how the tests sample from them."""

import comfy.sample
import comfy.samplers
import comfy.sd
import torch
from comfy.patcher_extension import WrappersMP

import nodes as core_nodes

WIDTH = 256
LATENT = {"samples": torch.zeros(1, 16, 3, 8, 8)}


def load_wan(wan, depth, seed=0, model_options=None, **settings):
    """A MODEL; `wan` is the pack's module of that name, `settings` are of its `WanConfig`."""
    torch.manual_seed(seed)
    config = wan.WanConfig(**{**dict(dim=WIDTH, ffn_dim=512, num_layers=depth, num_heads=WIDTH // 128), **settings})
    return comfy.sd.load_diffusion_model_state_dict(
        wan.WanModel(config).state_dict(), model_options=model_options or {}
    )


def text(seed, rows=10):
    context = torch.zeros(1, 512, 4096)
    context[:, :rows] = torch.randn(1, rows, 4096, generator=torch.Generator().manual_seed(seed))
    return [[context, {}]]


PROMPT, NEGATIVE = text(1), text(2, rows=3)


def image_conditionings(*conditionings, frames=3):
    """For an image-to-video MODEL: a first frame, its mask, and CLIP's view of it."""
    extra = {"concat_latent_image": torch.randn(1, 16, frames, 8, 8), "concat_mask": torch.ones(1, 1, frames, 8, 8)}

    class Vision:
        penultimate_hidden_states = torch.randn(1, 257, 1280)

    return [[[c[0][0], {**extra, "clip_vision_output": Vision()}]] for c in conditionings]


@torch.inference_mode()
def sample(model, positive=PROMPT, negative=NEGATIVE, cfg=5.0, latent=LATENT, seed=3):
    return core_nodes.common_ksampler(model, seed, 3, cfg, "euler", "simple", positive, negative, latent)[0]["samples"]


def run_guider(guider, callback=None, sigmas=None):
    noise = comfy.sample.prepare_noise(LATENT["samples"], 3, None)
    if sigmas is None:
        sigmas = comfy.samplers.KSampler(guider.model_patcher, 3, torch.device("cpu"), "euler", "simple").sigmas
    with torch.inference_mode():
        return guider.sample(
            noise, LATENT["samples"], comfy.samplers.sampler_object("euler"), sigmas, callback=callback, seed=3
        )


def cfg_guider(model, positive=PROMPT, negative=NEGATIVE, cfg=5.0):
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    return guider


def separate_passes(model, monkeypatch):
    """Run the rows of a batch one after another."""
    monkeypatch.setattr(model.model, "memory_required", lambda *args, **kwargs: 1e30)


def spy_on_rows(model, seen):
    """Record, after every other wrapper, the context that each block gets, beside the one without identity."""

    def wrapper(
        executor, x, timestep, context, clip_fea=None, time_dim_concat=None, transformer_options=None, **kwargs
    ):
        plain = executor.class_obj.text_embedding(context)
        options = dict(transformer_options)
        blocks = dict(options.get("patches_replace", {}).get("dit", {}))

        def original(args, extra):
            seen.append((list(options["uuids"]), (args["txt"] != plain).flatten(1).any(1)))
            return extra["original_block"](args)

        # The spy goes under whatever is installed: what counts is what the block itself receives.
        previous = blocks.get(("double_block", 0))
        if previous is None:
            blocks[("double_block", 0)] = original
        else:
            blocks[("double_block", 0)] = lambda args, extra: previous(
                args, {"original_block": lambda inner: original(inner, extra)}
            )
        options["patches_replace"] = {"dit": blocks}
        return executor(x, timestep, context, clip_fea, time_dim_concat, options, **kwargs)

    spied = model.clone()
    spied.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "spy", wrapper)
    return spied


def names_with_identity(guider, seen):
    """Names of the conditionings whose rows the spy saw changed, and of those it saw unchanged."""
    changed, unchanged = set(), set()
    uuid_names = {entry["uuid"]: name for name, entries in guider.original_conds.items() for entry in entries}
    for uuids, rows in seen:
        for key, row in zip(uuids, rows.tolist(), strict=True):
            (changed if row else unchanged).add(uuid_names[key])
    return changed, unchanged
