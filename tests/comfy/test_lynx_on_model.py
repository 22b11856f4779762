"""Lynx on ComfyUI's own Wan models, in process: what it equals, where it acts, what it leaves and what it refuses."""

from types import SimpleNamespace

import pytest
import torch
from comfy_extras.nodes_custom_sampler import Guider_DualCFG
from wan_models import (
    NEGATIVE,
    PROMPT,
    WIDTH,
    cfg_guider,
    image_conditionings,
    load_wan,
    run_guider,
    sample,
    separate_passes,
    text,
)

DEPTH = 5
MODULES = (
    "nodes.shared.models", "nodes.shared.patching", "nodes.slot_id.patching", "nodes.lynx.apply", "nodes.lynx.load",
    "nodes.lynx.patching", "nodes.sampling.guider", "slotid_core.systems.lynx",
    "slotid_core.systems.lynx.random_checkpoints", "slotid_core.systems.slot_id", "slotid_core.wan",
    "slotid_core.weights",
)  # fmt: skip


@pytest.fixture(scope="module")
def pack(pack_module):
    return {name.removeprefix("nodes."): pack_module(name) for name in MODULES}


@pytest.fixture(scope="module")
def load(pack):
    def load(**settings):
        return load_wan(pack["slotid_core.wan"], DEPTH, **settings)

    return load


@pytest.fixture(scope="module")
def model(load):
    return load()


@pytest.fixture(scope="module")
def adapters(pack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lynx")
    files = pack["slotid_core.systems.lynx.random_checkpoints"].random_lynx(folder, WIDTH, DEPTH)
    build = pack["slotid_core.systems.lynx"].build_adapter
    names = ("full_id_layers", "full_resampler", "ref_layers", "lite_id_layers", "lite_resampler")
    full, full_resampler, ref, lite, lite_resampler = (
        pack["slotid_core.weights"].read_tensors(getattr(files, name))[0] for name in names
    )
    return {
        "lite": build(lite_resampler, lite, None),
        "full": build(full_resampler, full, None),
        "full + ref": build(full_resampler, full, ref),
    }


VARIANTS = ("lite", "full", "full + ref")


def face(seed=1):
    return torch.nn.functional.normalize(torch.randn(1, 512, generator=torch.Generator().manual_seed(seed)), dim=1)


def features(seed=2):
    return torch.randn(2, DEPTH, 16, WIDTH, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def apply(pack, adapters):
    def apply(model, variant="full + ref", id_scale=1.0, ref_scale=1.0, start=0.0, end=1.0, blocks=range(DEPTH),
              conditionings="positive", seed=1):  # fmt: skip
        adapter = adapters[variant]
        branches = adapter.face_branches(torch.cat([torch.zeros(1, 512), face(seed)]))
        reference = adapter.reference_branches(features()) if "ref" in variant else {}
        held = pack["lynx.patching"].hold(model, branches, reference)
        names = pack["shared.patching"].CONDITIONINGS[conditionings]
        return pack["lynx.patching"].apply_lynx(model, held, id_scale, ref_scale, start, end, blocks, names)

    return apply


def test_core_and_our_own_wan_do_the_same_with_lynx(pack, load, adapters):
    """The injection is one code for both; parity with the official modules is tested on ours."""
    lynx, wan = pack["slotid_core.systems.lynx"], pack["slotid_core.wan"]
    core_model = load()
    torch.manual_seed(0)
    ours = wan.WanModel(wan.WanConfig(dim=WIDTH, ffn_dim=512, num_layers=DEPTH, num_heads=2)).eval()
    adapter = adapters["full + ref"]
    branches = adapter.face_branches(torch.cat([torch.zeros(1, 512), face()]))
    reference = adapter.reference_branches(features())
    condition = lynx.LynxCondition(torch.tensor([1, 0]), branches, reference, 0.8, 0.7)
    results = []
    for transformer in (core_model.model.diffusion_model.float(), ours):
        options = lynx.install_lynx({}, transformer, condition, range(DEPTH))
        x = torch.randn(2, 16, 3, 8, 8, generator=torch.Generator().manual_seed(9))
        with torch.inference_mode():
            context = PROMPT[0][0].expand(2, -1, -1)
            results.append(transformer(x, torch.full((2,), 600.0), context, transformer_options=options))
    assert (results[0] - results[1]).abs().max() <= 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
def test_scale_zero_is_the_incoming_model_and_scales_are_continuous(model, apply, variant):
    base = sample(model)
    assert torch.equal(sample(apply(model, variant, 0.0, 0.0)), base)
    distance = [(sample(apply(model, variant, s, s)) - base).abs().max() for s in (0.01, 0.1, 1.0)]
    assert 0 < distance[0] < distance[1] < distance[2]


def test_both_scales_act_and_faces_differ(model, apply):
    both = sample(apply(model))
    for changed in (apply(model, id_scale=0.0), apply(model, ref_scale=0.0), apply(model, seed=5)):
        assert (sample(changed) - both).abs().max() > 1e-2
    assert torch.equal(sample(apply(model)), both)


@pytest.mark.parametrize("variant", VARIANTS)
def test_batched_and_separate_passes_agree(model, apply, monkeypatch, variant):
    patched = apply(model, variant)
    batched = sample(patched)
    separate_passes(model, monkeypatch)
    assert torch.allclose(sample(patched), batched, atol=5e-4)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("conditionings", ["positive", "positive and middle"])
def test_dual_cfg_rows_are_those_meant(model, apply, monkeypatch, batched, conditionings):
    """A conditioning without the person does not depend on whose face it is."""
    if not batched:
        separate_passes(model, monkeypatch)

    def predict(seed, cfg_positive, cfg_middle):
        guider = Guider_DualCFG(apply(model, conditionings=conditionings, seed=seed))
        guider.set_conds(PROMPT, text(5), NEGATIVE)
        guider.set_cfg(cfg_positive, cfg_middle)
        return run_guider(guider)

    # At positive scale 0 the result is negative + s (middle - negative).
    same = torch.allclose(predict(1, 0.0, 3.0), predict(5, 0.0, 3.0), atol=2e-3)
    assert same == (conditionings == "positive")
    assert not torch.allclose(predict(1, 3.0, 3.0), predict(5, 3.0, 3.0), atol=1e-2)


def test_start_and_end_bound_lynx_in_time(model, apply):
    base, whole = sample(model), sample(apply(model))
    for part in (sample(apply(model, end=0.5)), sample(apply(model, start=0.5))):
        assert (part - base).abs().max() > 1e-3 and (part - whole).abs().max() > 1e-3
    assert torch.equal(sample(apply(model, start=0.999, end=1.0)), base)


def test_model_is_untouched_after_a_run_an_error_and_an_interrupt(model, apply):
    base, patched = sample(model), apply(model)
    with_lynx = sample(patched)

    def stop(*args):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_guider(cfg_guider(patched), callback=stop)
    with pytest.raises(RuntimeError):
        sample(patched, positive=[[torch.zeros(1, 512, 7), {}]])
    hooks = [module for module in model.model.diffusion_model.modules() if module._forward_pre_hooks]
    assert not hooks
    assert torch.equal(sample(model), base)
    assert torch.equal(sample(patched), with_lynx)


@pytest.mark.parametrize("order", ["lynx first", "slot-id first"])
def test_slot_id_and_lynx_on_one_model_in_either_order(pack, model, apply, order, monkeypatch):
    slot_id = pack["slotid_core.systems.slot_id"]

    def normal(*shape):
        return torch.randn(*shape, generator=torch.Generator().manual_seed(4))

    identity = slot_id.Identity(
        normal(1, 2, WIDTH), normal(1, 6, WIDTH), 0.3 * normal(1, 2, 2, WIDTH), 0.3 * normal(1, 2, 2, WIDTH), WIDTH,
        DEPTH, slot_id.GateSchedule("linear"),
    )  # fmt: skip
    names = pack["shared.patching"].CONDITIONINGS["positive"]

    def slot(model, strength=1.0):
        return pack["slot_id.patching"].apply_identity(model, identity, strength, 0.0, 1.0, range(DEPTH), names)

    def stack(strength=1.0, scale=1.0):
        if order == "lynx first":
            return slot(apply(model, id_scale=scale, ref_scale=scale), strength)
        return apply(slot(model, strength), id_scale=scale, ref_scale=scale)

    both, reference = sample(stack()), sample(apply(slot(model)))
    assert torch.allclose(both, reference, atol=1e-4)
    assert torch.equal(sample(stack(strength=0.0)), sample(apply(model)))
    assert torch.equal(sample(stack(scale=0.0)), sample(slot(model)))
    assert (both - sample(apply(model))).abs().max() > 1e-2 and (both - sample(slot(model))).abs().max() > 1e-2
    # A prompt without padding makes Slot-ID run the batch in two parts; each must keep its own rows of Lynx.
    long = text(4, rows=512)
    batched = sample(stack(), positive=long)
    separate_passes(model, monkeypatch)
    assert torch.allclose(sample(stack(), positive=long), batched, atol=5e-4)


def test_chains_onto_an_attention_override_and_a_block_replacement(model, apply):
    seen = []

    def override(function, *args, **kwargs):
        seen.append("attention")
        return function(*args, **kwargs)

    def count(args, extra):
        seen.append("block")
        return extra["original_block"](args)

    chained = model.clone()
    chained.model_options["transformer_options"]["optimized_attention_override"] = override
    chained.set_model_patch_replace(count, "dit", "double_block", 1)
    assert torch.equal(sample(apply(chained)), sample(apply(model)))
    assert seen.count("block") == 3 and seen.count("attention") == 3 * DEPTH * 2


def test_fp8_base_works(load, apply):
    fp8 = load(model_options={"dtype": torch.float8_e4m3fn})
    assert fp8.model.diffusion_model.blocks[0].self_attn.q.weight.dtype == torch.float8_e4m3fn
    base = sample(fp8)
    assert torch.equal(sample(apply(fp8, id_scale=0.0, ref_scale=0.0)), base)
    out = sample(apply(fp8))
    assert torch.isfinite(out).all() and (out - base).abs().max() > 1e-2


def test_i2v_with_clip_image_tokens(load, apply):
    model = load(in_dim=36, has_image_tokens=True)
    positive, negative = image_conditionings(PROMPT, NEGATIVE)
    base = sample(model, positive, negative)
    assert torch.equal(sample(apply(model, id_scale=0.0, ref_scale=0.0), positive, negative), base)
    assert (sample(apply(model), positive, negative) - base).abs().max() > 1e-2


def test_a_compiled_block_gives_the_same(model, apply):
    base = sample(apply(model))
    compiled = apply(model)
    block = compiled.model.diffusion_model.blocks[1]
    compiled.add_object_patch("diffusion_model.blocks.1", torch.compile(block, backend="eager"))
    assert torch.allclose(sample(compiled), base, atol=1e-5)


def test_the_guider_gives_lynxs_own_three_way_guidance(pack, model, apply, monkeypatch):
    """u + s_i (i - u) + s_t (c - i) with u = (negative, nobody), i = (negative, person), c = (prompt, person)."""
    patched, nobody = apply(model), apply(model, conditionings="positive")
    sigmas = torch.tensor([1.0, 0.0])

    def one(model, positive):
        return run_guider(cfg_guider(model, positive, cfg=1.0), sigmas=sigmas)

    i, c = one(patched, NEGATIVE), one(patched, PROMPT)
    with monkeypatch.context() as patch:
        patch.setattr(pack["shared.patching"], "rows_with_identity", lambda options, names, batch: torch.zeros(batch))
        u = one(nobody, NEGATIVE)
    guider = pack["sampling.guider"].make_guider(patched, PROMPT, NEGATIVE, 5.0, 2.0, "identity first")
    assert torch.allclose(run_guider(guider, sigmas=sigmas), u + 2.0 * (i - u) + 5.0 * (c - i), atol=2e-3)
    assert (i - u).abs().max() > 1e-3


def test_guider_wants_an_identity(pack, model):
    with pytest.raises(ValueError, match="Apply Lynx"):
        pack["sampling.guider"].make_guider(model, PROMPT, NEGATIVE, 5.0, 2.0, "identity first")


def test_scale_zero_is_the_base_model_also_through_the_guider(pack, model, adapters):
    loaded = pack["lynx.load"].LoadedLynx("full", adapters["full"])
    person = SimpleNamespace(embedding=face())
    apply = pack["lynx.apply"].LynxApply.execute
    (patched,) = apply(model, loaded, 0.0, 1.0, 0.0, 1.0, "all", "positive", face=person).args
    guider = pack["sampling.guider"].make_guider(patched, PROMPT, NEGATIVE, 5.0, 2.0, "text first")
    assert torch.equal(run_guider(guider), run_guider(cfg_guider(model)))


def test_a_model_of_another_size_and_missing_parts_are_explained(pack, load, adapters):
    wide = load(dim=384, num_heads=3)
    with pytest.raises(ValueError, match="width 256.*width 384"):
        adapters["full"].check_model(*pack["shared.models"].wan_shape(wide))
    needed = pack["lynx.apply"].needed
    with pytest.raises(ValueError, match="no Ref layers"):
        needed(object(), {}, 1.0, "reference", "Ref layers")
    with pytest.raises(ValueError, match="need a face"):
        needed(None, {"0": 1}, 1.0, "face", "ID layers")
