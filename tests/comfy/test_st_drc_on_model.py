"""ST-DRC on ComfyUI's own Wan models, in process: what it equals, where it acts, what it leaves and what it refuses."""

import logging
from dataclasses import replace

import comfy.context_windows
import comfy.ldm.wan.model
import comfy.model_management
import comfy.samplers
import pytest
import torch
from comfy.model_management import InterruptProcessingException
from comfy.model_patcher import ModelPatcher
from wan_models import (
    LATENT,
    NEGATIVE,
    PROMPT,
    WIDTH,
    cfg_guider,
    image_conditionings,
    load_wan,
    run_guider,
    sample,
    separate_passes,
)

DEPTH = 3
MODULES = (
    "nodes.shared.patching", "nodes.st_drc.apply", "nodes.st_drc.face", "nodes.st_drc.patching", "nodes.st_drc.person",
    "nodes.sampling.guider", "slotid_core.systems.st_drc", "slotid_core.systems.st_drc.random_checkpoints",
    "slotid_core.systems.st_drc.injection", "slotid_core.wan", "slotid_core.wan.guidance",
)  # fmt: skip
OWN = {"reference_attends": "itself", "reads_text": False}


@pytest.fixture(scope="module")
def pack(pack_module):
    return {name.removeprefix("nodes.").removeprefix("slotid_core."): pack_module(name) for name in MODULES}


@pytest.fixture(scope="module")
def load(pack):
    def load(**settings):
        return load_wan(pack["wan"], DEPTH, **settings)

    return load


@pytest.fixture(scope="module")
def model(load):
    return load()


@pytest.fixture
def make(pack):
    """An adapter; `layout` are changes of it."""

    def make(width=WIDTH, depth=DEPTH, layout=None, **lora):
        settings = pack["systems.st_drc"].LayoutConfig(**(layout or {}))
        return pack["systems.st_drc.random_checkpoints"].random_adapter(width, depth, settings, **lora)

    return make


@pytest.fixture
def someone(pack):
    def someone(seed=1, count=1, side=8):
        latents = torch.randn(1, 16, count, side, side, generator=torch.Generator().manual_seed(seed))
        return pack["systems.st_drc"].Person(latents)

    return someone


@pytest.fixture
def apply(pack, make, someone):
    def apply(model, scale=1.0, start=0.0, end=1.0, seed=1, conditionings="positive", adapter=None, person=None):
        names = pack["shared.patching"].CONDITIONINGS[conditionings]
        return pack["st_drc.patching"].apply_reference(
            model, adapter or make(), person or someone(seed), scale, start, end, names
        )

    return apply


@pytest.mark.parametrize("in_dim", [16, 36])
@pytest.mark.parametrize("layout", [{}, OWN, {"modulation": "shared", "spatial_shift": False}])
@pytest.mark.parametrize(("count", "rows"), [(1, None), (2, (1.0, 0.0))])
def test_core_and_our_own_wan_do_the_same_with_references(pack, load, in_dim, layout, count, rows):
    wan, st_drc = pack["wan"], pack["systems.st_drc"]
    torch.manual_seed(0)
    ours = wan.WanModel(wan.WanConfig(dim=WIDTH, ffn_dim=512, num_layers=DEPTH, num_heads=2, in_dim=in_dim)).eval()
    core = load(in_dim=in_dim).model.diffusion_model.float()
    generator = torch.Generator().manual_seed(9)
    x = torch.randn(2, in_dim, 3, 8, 8, generator=generator)
    condition = st_drc.ReferenceCondition(
        torch.randn(1, 16, count, 8, 8, generator=generator), st_drc.LayoutConfig(**layout),
        None if rows is None else torch.tensor(rows),
    )  # fmt: skip
    results, bare = [], []
    for transformer in (core, ours):
        with torch.inference_mode():
            inputs = (x, torch.tensor([600.0, 300.0]), PROMPT[0][0].expand(2, -1, -1))
            options = st_drc.install_reference({}, transformer, condition, (3, 4, 4), x)
            results.append(transformer(*inputs, transformer_options=options))
            bare.append(transformer(*inputs))
    assert (results[0] - results[1]).abs().max() <= 1e-5
    assert (results[0] - bare[0])[0].abs().max() > 1e-3


@pytest.mark.parametrize("layout", [{}, OWN])
def test_scale_zero_is_the_incoming_model_and_scales_are_continuous(model, apply, make, layout):
    base, adapter = sample(model), make(layout=layout)
    assert torch.equal(sample(apply(model, 0.0, adapter=adapter)), base)
    distance = [(sample(apply(model, scale, adapter=adapter)) - base).abs().max() for scale in (0.01, 0.1, 1.0)]
    assert 0 < distance[0] < distance[1] < distance[2]
    assert (sample(apply(model, seed=5, adapter=adapter)) - sample(apply(model, adapter=adapter))).abs().max() > 1e-2


@pytest.mark.parametrize("layout", [{}, {"reference_attends": "itself"}, OWN])
def test_batched_and_separate_passes_agree(model, apply, make, monkeypatch, layout):
    patched = apply(model, adapter=make(layout=layout))
    batched = sample(patched)
    separate_passes(model, monkeypatch)
    assert torch.allclose(sample(patched), batched, atol=5e-4)


def test_kept_keys_give_the_same_and_are_gone_after_the_run(pack, model, apply, make, monkeypatch):
    caches, patching = [], pack["st_drc.patching"]
    made = patching.RunCache

    def note():
        caches.append(made())
        return caches[-1]

    monkeypatch.setattr(patching, "RunCache", note)
    sizes = []

    def measure(*args):
        sizes.append(caches[0].num_bytes)

    patched = apply(model, adapter=make(layout=OWN))
    kept = run_guider(cfg_guider(patched), callback=measure)
    tokens = 16
    assert set(sizes) == {DEPTH * 2 * tokens * WIDTH * 4} and caches[0].num_bytes == 0
    with monkeypatch.context() as patch:
        patch.setattr(pack["systems.st_drc.injection"].AppendedTokens, "is_constant", False)
        assert torch.allclose(run_guider(cfg_guider(patched)), kept, atol=5e-4)


def test_start_and_end_bound_the_reference_in_time(model, apply):
    base, whole = sample(model), sample(apply(model))
    for part in (sample(apply(model, end=0.5)), sample(apply(model, start=0.5))):
        assert (part - base).abs().max() > 1e-3 and (part - whole).abs().max() > 1e-3
    assert torch.equal(sample(apply(model, start=0.999)), base)


def test_model_is_untouched_after_a_run_an_error_and_an_interrupt(model, apply, make):
    adapter = make(layout=OWN, tokens="reference")
    base, patched = sample(model), apply(model, adapter=adapter)
    with_person = sample(patched)

    def stop(*args):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_guider(cfg_guider(patched), callback=stop)
    with pytest.raises(RuntimeError):
        sample(patched, positive=[[torch.zeros(1, 512, 7), {}]])
    assert not [m for m in model.model.diffusion_model.modules() if m._forward_pre_hooks or m._forward_hooks]
    assert torch.equal(sample(model), base)
    assert torch.equal(sample(patched), with_person)


def test_image_to_video_several_pictures_and_other_sizes(load, apply, someone, caplog):
    model = load(in_dim=36, has_image_tokens=True)
    prompt, negative = image_conditionings(PROMPT, NEGATIVE)
    base = sample(model, prompt, negative)
    assert torch.equal(sample(apply(model, 0.0), prompt, negative), base)
    two = sample(apply(model, person=someone(count=2)), prompt, negative)
    assert (two - base).abs().max() > 1e-2
    with caplog.at_level(logging.WARNING):
        other = sample(apply(model, person=someone(side=12)), prompt, negative)
    assert torch.isfinite(other).all() and caplog.text.count("encoded at 96x96") == 1


def windows():
    """Context windows of three latent frames, none of them over another."""
    handler = comfy.context_windows.IndexListContextHandler(
        comfy.context_windows.get_matching_context_schedule("standard_static"),
        comfy.context_windows.get_matching_fuse_method("flat"),
        context_length=3, context_overlap=0, dim=2,
    )  # fmt: skip
    vars(handler)["causal_window_fix"] = False  # newer ComfyUI puts a frame of the window before in front of each
    return handler


def test_context_windows_each_get_the_reference(model, apply):
    handler, latent = windows(), {"samples": torch.zeros(1, 16, 6, 8, 8)}
    seen = []

    def windowed(seed):
        patched = apply(model, seed=seed)
        patched.model_options["context_handler"] = handler
        return sample(patched, latent=latent)

    plain = model.clone()
    plain.model_options["context_handler"] = handler
    base = sample(plain, latent=latent)
    for seed in (1, 5):
        seen.append(windowed(seed))
        change = (seen[-1] - base).abs()
        assert change[:, :, :3].max() > 1e-2 and change[:, :, 3:].max() > 1e-2
    assert (seen[0] - seen[1]).abs().max() > 1e-2


def test_fp8_base_and_lora(pack, load, make, apply):
    fp8, adapter = load(model_options={"dtype": torch.float8_e4m3fn}), make()
    base = sample(fp8)
    assert torch.equal(sample(apply(fp8, 0.0)), base)
    with_lora = pack["st_drc.patching"].with_lora(fp8, adapter, 1.0)
    out = sample(apply(with_lora, adapter=adapter))
    assert torch.isfinite(out).all() and (out - base).abs().max() > 1e-2


@pytest.fixture
def caches(pack, monkeypatch):
    """The caches of all references applied in a test."""
    made, new = [], pack["st_drc.patching"].RunCache

    def note():
        made.append(new())
        return made[-1]

    monkeypatch.setattr(pack["st_drc.patching"], "RunCache", note)
    return made


@pytest.fixture
def loaded_partially(monkeypatch):
    """While a share is set, core leaves the other weights where they are offloaded to, and casts them in each call."""
    loads, load = [], ModelPatcher.load

    def load_a_share(self, device_to=None, lowvram_model_memory=0, force_patch_weights=False, full_load=False):
        if not shares:
            return load(self, device_to, lowvram_model_memory, force_patch_weights, full_load)
        modules = [m for m in self.model.diffusion_model.modules() if hasattr(m, "comfy_cast_weights")]
        loaded = []
        for memory in shares[-1]:  # in models' sizes; until something is loaded
            if not loaded:
                load(self, device_to, memory * self.model_size() + 1, force_patch_weights, full_load=False)
                loaded = [m for m in modules if getattr(m, "comfy_patched_weights", False)]
        loads.append((self.model.model_lowvram, len(loaded) / len(modules)))

    shares: list[tuple[float, ...]] = []
    monkeypatch.setattr(ModelPatcher, "load", load_a_share)
    return shares, loads


NOTHING, SOME = (0.0,), (0.25, 0.5, 1.0, 1.25, 1.5, 2.0)  # newer ComfyUI leaves much room to cast fp8 in


@pytest.mark.parametrize("share", [NOTHING, SOME])
@pytest.mark.parametrize(
    ("settings", "dtype"), [({}, None), ({"layout": OWN, "tokens": "reference"}, torch.float8_e4m3fn)]
)
def test_offloaded_weights_give_what_loaded_ones_give(
    pack, load, make, apply, loaded_partially, share, settings, dtype
):
    """fp8 with a LoRA that is not merged: core rounds merged fp8 weights, and offloaded ones not."""
    (shares, loads), adapter = loaded_partially, make(**settings)
    model = load(model_options={} if dtype is None else {"dtype": dtype})

    def patched():
        return apply(pack["st_drc.patching"].with_lora(model, adapter, 1.0), adapter=adapter)

    base, full = sample(model), sample(patched())
    comfy.model_management.unload_all_models()
    shares.append(share)
    offloaded = sample(patched())
    comfy.model_management.unload_all_models()
    shares.clear()
    (is_partial, loaded) = loads[0]
    assert is_partial and (loaded == 0 if share == NOTHING else 0 < loaded < 1)
    assert torch.allclose(offloaded, full, atol=1e-4) and (full - base).abs().max() > 1e-2
    assert torch.equal(sample(model), base)


@pytest.mark.parametrize("failure", [InterruptProcessingException, RuntimeError])
@pytest.mark.parametrize("after", [1, 3, 7])  # blocks: of the pass that fills the cache, and of the next ones
def test_an_interrupt_inside_a_block_leaves_nothing(model, apply, make, caches, failure, after):
    adapter = make(layout=OWN, tokens="reference")
    base, expected = sample(model), sample(apply(model, adapter=adapter))
    calls = []

    def stop(args, extra):
        calls.append(caches[-1].num_bytes)
        if len(calls) > after:
            raise failure
        return extra["original_block"](args)

    stopping = model.clone()
    for index in range(DEPTH):
        stopping.set_model_patch_replace(stop, "dit", "double_block", index)
    with pytest.raises(failure):
        sample(apply(stopping, adapter=adapter))
    assert max(calls) > 0 and all(cache.num_bytes == 0 for cache in caches)
    assert not [m for m in model.model.diffusion_model.modules() if m._forward_pre_hooks or m._forward_hooks]
    assert torch.equal(sample(model), base)
    assert torch.equal(sample(apply(model, adapter=adapter)), expected)


@pytest.mark.parametrize("layout", [{}, OWN])
def test_image_to_video_batched_and_apart(load, apply, make, monkeypatch, layout):
    model = load(in_dim=36, has_image_tokens=True)
    (prompt, negative), patched = image_conditionings(PROMPT, NEGATIVE), apply(model, adapter=make(layout=layout))
    batched = sample(patched, prompt, negative)
    separate_passes(model, monkeypatch)
    assert torch.allclose(sample(patched, prompt, negative), batched, atol=5e-4)


@pytest.mark.parametrize("layout", [{}, OWN])
def test_windows_that_do_not_overlap_are_videos_of_their_own(model, apply, make, layout):
    """The reference stands behind the last frame of each window, also where its keys are kept."""
    patched = apply(model, adapter=make(layout=layout))
    noise = torch.randn(1, 16, 6, 8, 8, generator=torch.Generator().manual_seed(7))

    def run(noise, handler=None):
        windowed = patched.clone()
        windowed.model_options["context_handler"] = handler
        sigmas = comfy.samplers.KSampler(windowed, 3, torch.device("cpu"), "euler", "simple").sigmas
        sampler, nothing = comfy.samplers.sampler_object("euler"), torch.zeros_like(noise)
        with torch.inference_mode():
            return cfg_guider(windowed).sample(noise, nothing, sampler, sigmas, seed=3)

    whole = run(noise, windows())
    for part in (slice(0, 3), slice(3, 6)):
        assert torch.allclose(whole[:, :, part], run(noise[:, :, part]), atol=5e-4)
    assert (run(noise) - whole).abs().max() > 1e-2


@pytest.mark.parametrize("layout", [{}, OWN])
def test_context_windows_of_image_to_video(load, apply, make, layout):
    model, frames = load(in_dim=36, has_image_tokens=True), 6
    prompt, negative = image_conditionings(PROMPT, NEGATIVE, frames=frames)

    def run(seed=None):
        windowed = model.clone() if seed is None else apply(model, seed=seed, adapter=make(layout=layout))
        windowed.model_options["context_handler"] = windows()
        return sample(windowed, prompt, negative, latent={"samples": torch.zeros(1, 16, frames, 8, 8)})

    try:
        base = run()
    except RuntimeError as error:
        pytest.skip(f"This ComfyUI does not cut an image-to-video model's pictures into windows: {error}")
    one, other = run(1), run(5)
    for part in (slice(0, 3), slice(3, 6)):
        assert (one - base)[:, :, part].abs().max() > 1e-2 and (one - other)[:, :, part].abs().max() > 1e-2


def test_the_lora_is_on_once_and_said_to_be_missing(pack, model, make):
    patching, adapter = pack["st_drc.patching"], make()
    assert "does not carry the LoRA" in patching.lora_warning(model, adapter)
    patched = patching.with_lora(model, adapter, 1.0)
    assert patching.lora_warning(patched, adapter) == ""
    assert (sample(patched) - sample(model)).abs().max() > 1e-3
    with pytest.raises(ValueError, match="on this MODEL already"):
        patching.with_lora(patched, adapter, 1.0)
    assert patching.with_lora(model, make(tokens="reference"), 1.0) is model


def test_the_guiders_two_scales_and_refinements(pack, model, apply):
    """Equal scales are ordinary guidance; a refinement that changes nothing samples the same."""
    patched, guider = apply(model), pack["sampling.guider"]
    sigmas = torch.tensor([1.0, 0.5, 0.0])

    def run(model, text, identity, order="text first"):
        return run_guider(guider.make_guider(model, PROMPT, NEGATIVE, text, identity, order), sigmas=sigmas)

    ordinary = run_guider(cfg_guider(patched, cfg=3.0), sigmas=sigmas)
    assert torch.equal(run(patched, 3.0, 3.0), ordinary)
    (same,) = guider.SlotIDRefineGuidance.execute(patched, 1.0, 1000.0, 0.0).args
    assert torch.allclose(run(same, 3.0, 3.0), ordinary, atol=2e-3)
    for order in ("text first", "identity first"):
        assert torch.allclose(run(same, 3.0, 5.0, order), run(patched, 3.0, 5.0, order), atol=2e-3)
        (changed,) = guider.SlotIDRefineGuidance.execute(patched, 0.5, 0.0, 0.7).args
        assert (run(changed, 3.0, 5.0, order) - run(patched, 3.0, 5.0, order)).abs().max() > 1e-2


def test_models_that_lay_out_tokens_otherwise_are_refused(load, apply, make, someone):
    with pytest.raises(ValueError, match="takes 48 channels"):
        apply(load(in_dim=48))
    with pytest.raises(ValueError, match="width 384"):
        apply(load(), adapter=make(width=384))
    with pytest.raises(ValueError, match="5 blocks"):
        apply(load(), adapter=make(depth=5))
    for name in ("VaceWanModel", "CameraWanModel", "HumoWanModel", "WanModel_S2V"):
        other = load()
        other.model.diffusion_model.__class__ = getattr(comfy.ldm.wan.model, name)
        with pytest.raises(ValueError, match={"WanModel_S2V": "Wan 2.2 S2V runs its blocks"}.get(name, name)):
            apply(other)
    fun = load()
    fun.model.diffusion_model.ref_conv = torch.nn.Conv2d(16, WIDTH, 2)
    with pytest.raises(ValueError, match="plain Wan"):
        apply(fun)


def test_a_lora_that_does_not_fit_the_model_is_refused_and_leaves_nothing(pack, load, make):
    """By its node: of another width or depth, or one none of whose layers is there."""
    patching, model = pack["st_drc.patching"], load()
    for adapter, said in ((make(width=384), "width 384"), (make(depth=5), "5 blocks")):
        with pytest.raises(ValueError, match=said):
            patching.with_lora(model, adapter, 1.0)
    other = load()
    for block in other.model.diffusion_model.blocks:
        block.renamed = block.__dict__["_modules"].pop("self_attn")
    with pytest.raises(ValueError, match="Only 0 of the adapter's 12 LoRA modules fit"):
        patching.with_lora(other, make(), 1.0)
    for untouched in (model, other):
        assert not untouched.patches and not untouched.attachments and not untouched.wrappers


def test_what_is_not_finite_is_said_at_its_node(pack):
    person, face = pack["st_drc.person"], pack["st_drc.face"]
    nan = torch.full((1, 32, 32, 3), float("nan"))

    class BrokenVAE:
        latent_channels = 16

        def encode(self, pixels):
            return torch.full((1, 16, 1, 4, 4), float("nan"))

    with pytest.raises(ValueError, match="frames hold NaN"):
        person.STDRCEncodeReference.execute(BrokenVAE(), nan, 32, 32)
    with pytest.raises(ValueError, match="VAE gave NaN"):
        person.STDRCEncodeReference.execute(BrokenVAE(), torch.rand(1, 32, 32, 3), 32, 32)
    with pytest.raises(ValueError, match="frames hold NaN"):
        face.STDRCCropFace.execute(nan, "auto", "skip")
    with pytest.raises(ValueError, match="mask holds NaN"):
        face.STDRCCropFace.execute(torch.rand(1, 32, 32, 3), "auto", "skip", nan[..., 0])


def test_pictures_are_fitted_and_said(pack, caplog):
    node = pack["st_drc.person"]

    class VAE:
        latent_channels = 16

        def encode(self, pixels):
            frames, height, width = pixels.shape[:3]
            return torch.full((1, 16, (frames - 1) // 4 + 1, height // 8, width // 8), float(pixels.mean()))

    pictures = torch.rand(2, 40, 40, 3)
    with caplog.at_level(logging.WARNING):
        person, fitted = node.STDRCEncodeReference.execute(VAE(), pictures, 96, 48).args
    assert person.latents.shape == (1, 16, 2, 6, 12) and fitted.shape == (2, 48, 96, 3)
    assert person.pixels == (96, 48) and "fitted in whole" in caplog.text
    with pytest.raises(ValueError, match="multiples of 16"):
        node.STDRCEncodeReference.execute(VAE(), pictures, 100, 48)
    with pytest.raises(ValueError, match="at most 16"):
        node.STDRCEncodeReference.execute(VAE(), torch.rand(17, 16, 16, 3), 96, 48)
    assert replace(person, source={}).latents is person.latents


def test_the_latent_of_the_tests_is_of_the_persons_size(someone):
    assert someone().latents.shape[3:] == LATENT["samples"].shape[3:]
