"""An identity on ComfyUI's own Wan models, in process: where it acts, what stays untouched, what it refuses."""

from types import SimpleNamespace

import comfy.sd
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
    names_with_identity,
    run_guider,
    sample,
    separate_passes,
    spy_on_rows,
    text,
)

DEPTH = 4
MODULES = (
    "nodes.shared.patching", "nodes.slot_id.patching", "nodes.sampling.guider", "slotid_core.wan",
    "slotid_core.systems.slot_id",
)  # fmt: skip
POSITIVE = frozenset({"positive"})


@pytest.fixture(scope="module")
def core(pack_module):
    """The pack's modules that these tests drive."""
    return {name: pack_module(name) for name in MODULES}


@pytest.fixture(scope="module")
def load(core):
    def load(**settings):
        return load_wan(core["slotid_core.wan"], DEPTH, **settings)

    return load


@pytest.fixture(scope="module")
def model(load):
    return load()


def make_identity(core, seed=1, width=WIDTH, depth=DEPTH):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    slot_id = core["slotid_core.systems.slot_id"]
    film = (1, depth // 2, 2, width)
    return slot_id.Identity(
        normal(1, 2, width), normal(1, 6, width), 0.3 * normal(*film), 0.3 * normal(*film), width, depth,
        slot_id.GateSchedule("linear"),
    )  # fmt: skip


@pytest.fixture
def apply(core):
    def apply(model, identity=None, strength=1.0, start=0.0, end=1.0, blocks=range(DEPTH), names=POSITIVE):
        identity = identity or make_identity(core)
        return core["nodes.slot_id.patching"].apply_identity(model, identity, strength, start, end, blocks, names)

    return apply


def lora_for(model, seed):
    """A LoRA on cross-attention queries and feed-forward, as a user's style LoRA would be."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for block in range(DEPTH):
        for name, out in (("cross_attn.q", WIDTH), ("ffn.2", WIDTH)):
            fan_in = WIDTH if name == "cross_attn.q" else 512
            key = f"diffusion_model.blocks.{block}.{name}"
            tensors[f"{key}.lora_A.weight"] = 0.1 * torch.randn(4, fan_in, generator=generator)
            tensors[f"{key}.lora_B.weight"] = 0.1 * torch.randn(out, 4, generator=generator)
    return comfy.sd.load_lora_for_models(model, None, tensors, 1.0, 0.0)[0]


def test_strength_zero_is_the_incoming_model_and_strength_is_continuous(model, apply):
    base = sample(model)
    assert torch.equal(sample(apply(model, strength=0.0)), base)
    distance = [(sample(apply(model, strength=s)) - base).abs().max() for s in (0.01, 0.1, 1.0)]
    assert 0 < distance[0] < distance[1] < distance[2]


def test_identities_differ_and_runs_repeat_exactly(core, model, apply):
    first, second = make_identity(core, 1), make_identity(core, 2)
    assert torch.equal(sample(apply(model, first)), sample(apply(model, first)))
    assert (sample(apply(model, first)) - sample(apply(model, second))).abs().max() > 0.1


def test_model_is_untouched_after_a_run_an_error_and_an_interrupt(model, apply):
    base, patched = sample(model), apply(model)
    with_identity = sample(patched)

    def stop(*args):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_guider(cfg_guider(patched), callback=stop)
    with pytest.raises(RuntimeError):
        sample(patched, positive=[[torch.zeros(1, 512, 7), {}]])
    assert torch.equal(sample(model), base)
    assert torch.equal(sample(patched), with_identity)


@pytest.mark.parametrize("batched", [True, False])
def test_only_positive_rows_get_the_identity(model, apply, monkeypatch, batched):
    if not batched:
        separate_passes(model, monkeypatch)
    seen = []
    guider = cfg_guider(spy_on_rows(apply(model), seen))
    run_guider(guider)
    assert {len(uuids) for uuids, _ in seen} == ({2} if batched else {1})
    assert names_with_identity(guider, seen) == ({"positive"}, {"negative"})


def test_batched_and_separate_passes_agree(model, apply, monkeypatch):
    patched = apply(model)
    batched = sample(patched)
    separate_passes(model, monkeypatch)
    assert torch.allclose(sample(patched), batched, atol=2e-4)


@pytest.mark.parametrize("names", [{"positive"}, {"positive", "middle"}], ids=["positive", "and-middle"])
@pytest.mark.parametrize("batched", [True, False])
def test_dual_cfg_rows_are_those_meant(model, apply, monkeypatch, batched, names):
    """In DualCFG, index 0 is the negative: choosing rows by index would put the person into it."""
    if not batched:
        separate_passes(model, monkeypatch)
    seen = []
    guider = Guider_DualCFG(spy_on_rows(apply(model, names=frozenset(names)), seen))
    guider.set_conds(PROMPT, text(5), NEGATIVE)
    guider.set_cfg(5.0, 2.0)
    run_guider(guider)
    changed, unchanged = names_with_identity(guider, seen)
    assert changed == names and unchanged == {"positive", "middle", "negative"} - names


def test_start_and_end_bound_the_identity_in_time(model, apply):
    base, whole = sample(model), sample(apply(model))
    early, late = sample(apply(model, end=0.5)), sample(apply(model, start=0.5))
    for part in (early, late):
        assert (part - base).abs().max() > 1e-2 and (part - whole).abs().max() > 1e-2
    assert torch.equal(sample(apply(model, start=0.999, end=1.0)), base)


@pytest.mark.parametrize("order", ["lora then identity", "identity then lora"])
def test_all_of_it_with_a_lora_stacked(model, apply, order):
    with_lora = lora_for(model, 7)
    base = sample(with_lora)
    assert (base - sample(model)).abs().max() > 1e-3

    def both(strength):
        if order == "lora then identity":
            return apply(with_lora, strength=strength)
        return lora_for(apply(model, strength=strength), 7)

    assert torch.equal(sample(both(0.0)), base)
    assert (sample(both(1.0)) - base).abs().max() > 0.1
    assert torch.equal(sample(both(1.0)), sample(apply(with_lora)))
    assert torch.equal(sample(with_lora), base)


def test_chains_onto_existing_block_replacements(model, apply):
    calls = []

    def count(args, extra):
        calls.append(args["txt"].shape)
        return extra["original_block"](args)

    counted = model.clone()
    counted.set_model_patch_replace(count, "dit", "double_block", 1)
    assert torch.equal(sample(apply(counted)), sample(apply(model)))
    assert len(calls) == 3


def test_prompt_without_padding_appends_and_spares_the_negative(model, apply):
    """512 real rows leave no padding: tokens are appended for the positive rows only."""
    long = text(4, rows=512)
    base = sample(model, positive=long, negative=NEGATIVE, cfg=1.0)
    assert (sample(apply(model), positive=long, negative=NEGATIVE, cfg=1.0) - base).abs().max() > 1e-2
    swapped = sample(apply(model, strength=1.0, names=frozenset({"nobody"})), positive=long)
    assert torch.equal(swapped, sample(model, positive=long))


def test_fp8_base_works(load, apply):
    fp8 = load(model_options={"dtype": torch.float8_e4m3fn})
    base = sample(fp8)
    assert torch.equal(sample(apply(fp8, strength=0.0)), base)
    assert torch.isfinite(sample(apply(fp8))).all() and (sample(apply(fp8)) - base).abs().max() > 0.1


def test_wan_22_5b_with_a_noise_level_per_frame(load, apply):
    model = load(in_dim=48, out_dim=48)
    mask = torch.ones(1, 1, 3, 8, 8)
    mask[:, :, 0] = 0
    latent = {"samples": torch.randn(1, 48, 3, 8, 8), "noise_mask": mask}
    base = sample(model, latent=latent)
    assert torch.equal(sample(apply(model, strength=0.0), latent=latent), base)
    assert (sample(apply(model), latent=latent) - base).abs().max() > 0.1


def test_i2v_with_clip_image_tokens(load, apply):
    model = load(in_dim=36, has_image_tokens=True)
    positive, negative = image_conditionings(PROMPT, NEGATIVE)
    base = sample(model, positive, negative)
    assert torch.equal(sample(apply(model, strength=0.0), positive, negative), base)
    assert (sample(apply(model), positive, negative) - base).abs().max() > 0.1


@pytest.mark.parametrize("order", ["text first", "identity first"])
def test_guider_reduces_to_cfg_at_equal_scales_and_names_its_rows(core, model, apply, order):
    names = frozenset({"positive", core["nodes.shared.patching"].NEGATIVE_WITH_IDENTITY})
    patched = apply(model, names=names)
    make = core["nodes.sampling.guider"].make_guider
    ordinary = sample(patched)
    assert torch.equal(run_guider(make(patched, PROMPT, NEGATIVE, 5.0, 5.0, order)), ordinary)
    almost = run_guider(make(patched, PROMPT, NEGATIVE, 5.0, 5.0001, order))
    assert torch.allclose(almost, ordinary, atol=5e-3)

    seen = []
    guider = make(spy_on_rows(patched, seen), PROMPT, NEGATIVE, 5.0, 2.0, order)
    run_guider(guider)
    middle = {"text first": ({"positive"}, {"text", "negative"})}.get(
        order, ({"positive", core["nodes.shared.patching"].NEGATIVE_WITH_IDENTITY}, {"negative"})
    )
    assert names_with_identity(guider, seen) == middle


@pytest.mark.parametrize("order", ["text first", "identity first"])
def test_guider_follows_its_formula(core, model, apply, order, monkeypatch):
    """One Euler step from pure noise is linear in the prediction, so the formula shows in the result."""
    names = frozenset({"positive", core["nodes.shared.patching"].NEGATIVE_WITH_IDENTITY})
    patched, make = apply(model, names=names), core["nodes.sampling.guider"].make_guider

    def one_step(model, positive, negative, scales=None):
        guider = make(model, positive, negative, *scales, order) if scales else cfg_guider(model, positive, negative, 1)
        return run_guider(guider, sigmas=torch.tensor([1.0, 0.0]))

    nothing, both = one_step(model, NEGATIVE, NEGATIVE), one_step(patched, PROMPT, NEGATIVE)
    if order == "text first":
        middle, first, second = one_step(model, PROMPT, NEGATIVE), 4.0, 1.5
    else:
        middle, first, second = one_step(patched, NEGATIVE, NEGATIVE), 1.5, 4.0
    expected = nothing + first * (middle - nothing) + second * (both - middle)
    assert torch.allclose(one_step(patched, PROMPT, NEGATIVE, (4.0, 1.5)), expected, atol=2e-3)


def test_guider_refuses_a_model_without_identity(core, model):
    with pytest.raises(ValueError, match="Apply Slot-ID Identity"):
        core["nodes.sampling.guider"].make_guider(model, PROMPT, NEGATIVE, 5.0, 5.0, "text first")


def test_wrong_model_size_and_wrong_kind_are_explained(core, model, apply):
    with pytest.raises(ValueError, match="width 1536 with 30"):
        apply(model, make_identity(core, width=1536, depth=30))
    hidden = {"latent_in.weight": torch.zeros(64, 8), "cond_in.weight": torch.zeros(64, 16)}
    other = comfy.sd.load_diffusion_model_state_dict(
        {**hidden, "double_blocks.0.img_attn.norm.key_norm.scale": torch.ones(4)}
    )
    with pytest.raises(ValueError, match="needs a Wan"):
        apply(other)
    # Core matches a LoRA by names, which a shorter model's all find in a longer one.
    shorter = SimpleNamespace(config=SimpleNamespace(model_width=WIDTH, model_depth=2), lora={}, fingerprint="")
    with pytest.raises(ValueError, match="with 2 blocks, but the MODEL has width 256 and 4"):
        core["nodes.slot_id.patching"].apply_lora(model, shorter, 1.0)
