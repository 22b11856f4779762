"""What a user's graph means on a ComfyUI MODEL: errors where it cannot be meant, no work where nothing differs, and
warnings on the nodes."""

import logging
from types import SimpleNamespace

import pytest
import torch
from wan_models import NEGATIVE, PROMPT, load_wan, run_guider, sample, text

DEPTH = 2


@pytest.fixture(scope="module")
def pack(pack_module):
    names = ("nodes.slot_id.patching", "nodes.slot_id.model", "nodes.slot_id.encode", "nodes.shared.patching",
             "nodes.shared.clean_latents", "nodes.sampling.guider", "nodes.lynx.apply", "slotid_core.wan",
             "slotid_core.wan.lora", "slotid_core.systems.slot_id", "slotid_core.systems.slot_id.random_checkpoints",
             "slotid_core.errors")  # fmt: skip
    return SimpleNamespace(**{name.removeprefix("slotid_core.").replace(".", "_"): pack_module(name) for name in names})


@pytest.fixture(scope="module")
def model(pack):
    return load_wan(pack.wan, DEPTH)


@pytest.fixture(scope="module")
def loaded(pack):
    """A random adapter for the MODEL as its loader gives it, and latents of its sizes."""
    torch.manual_seed(0)
    module = pack.systems_slot_id_random_checkpoints.random_adapter(256, DEPTH).eval().requires_grad_(False)
    module.fingerprint = "ours"
    return SimpleNamespace(name="ours", module=module, on_device=lambda: (module, torch.device("cpu")))


@pytest.fixture(scope="module")
def identity(loaded):
    return loaded.module(torch.randn(1, 16, 5, 16, 16), torch.randn(1, 16, 1, 16, 16))


@pytest.fixture
def apply(pack, identity):
    def apply(model, who=None, strength=1.0, start=0.0, end=1.0, conditionings="positive"):
        node = pack.nodes_slot_id_model.SlotIDApplyIdentity
        return node.execute(model, who or identity, strength, start, end, "all", conditionings).result[0]

    return apply


def said_by(caplog, node: str) -> str:
    """What a node has warned of."""
    return "\n".join(r.getMessage() for r in caplog.records if r.getMessage().startswith(f"Slot-ID, {node}: "))


# D2


def test_d2_humo_with_a_full_prompt_is_refused_and_with_room_it_runs(pack, identity):
    """Its audio belongs to the whole batch, so that rows cannot run apart."""
    from comfy.ldm.wan.model import HumoWanModel

    errors, apply_identity = pack.errors, pack.nodes_slot_id_patching.apply_identity
    humo = HumoWanModel.__new__(HumoWanModel)
    torch.nn.Module.__init__(humo)
    humo.dim, humo.blocks = 256, torch.nn.ModuleList(torch.nn.Identity() for _ in range(DEPTH))
    humo.add_module("text_embedding", torch.nn.Linear(4096, 256))
    humo.patch_size = (1, 2, 2)
    patched = apply_identity(patcher_of(humo), identity, 1.0, 0.0, 1.0, range(DEPTH), frozenset({"positive"}))
    (wrapper,) = patched.wrappers["diffusion_model"]["slotid_identity"]
    x, time = torch.zeros(1, 16, 3, 8, 8), torch.full((1,), 500.0)

    class Executor:
        class_obj = humo

        def __call__(self, *args, **kwargs):
            return args[5]

    options = wrapper(Executor(), x, time, PROMPT[0][0])
    assert len(options["patches_replace"]["dit"]) == DEPTH
    with pytest.raises(errors.SlotIDError, match="HuMo.*504"):
        wrapper(Executor(), x, time, text(4, rows=512)[0][0])


def patcher_of(transformer):
    from comfy.model_patcher import ModelPatcher

    holder = torch.nn.Module()
    holder.diffusion_model = transformer
    return ModelPatcher(holder, torch.device("cpu"), torch.device("cpu"))


# D5


def test_d5_the_same_lora_twice_is_an_error(pack, model, loaded):
    with_lora = pack.nodes_slot_id_model.with_lora
    once = with_lora(model, loaded, 1.0)
    with pytest.raises(pack.errors.SlotIDError, match="ours is on this MODEL already"):
        with_lora(once, loaded, 0.5)
    other = SimpleNamespace(module=SimpleNamespace(config=loaded.module.config, lora=loaded.module.lora,
                                                   fingerprint="theirs"))  # fmt: skip
    both = with_lora(once, other, 1.0)
    with pytest.raises(pack.errors.SlotIDError, match="already"):
        with_lora(both, loaded, 1.0)
    assert with_lora(once, loaded, 0.0) is once
    assert with_lora(model, loaded, 1.0) is not model  # the MODEL itself has none


# D7


@pytest.mark.parametrize("order", ["text first", "identity first"])
@pytest.mark.parametrize("first_scale", [4.0, 1.0])
def test_d7_no_third_pass_where_the_identity_is_inactive(pack, model, apply, order, first_scale):
    rows = []

    def count(executor, x, *args, **kwargs):
        rows.append(len(x))
        return executor(x, *args, **kwargs)

    def sampled(patched, scales):
        counted = patched.clone()
        counted.add_wrapper_with_key("diffusion_model", "count", count)
        rows.clear()
        make = pack.nodes_sampling_guider.make_guider
        return run_guider(make(counted, PROMPT, NEGATIVE, *scales, order)), sum(rows)

    scales = (first_scale, 2.0) if order == "text first" else (2.0, first_scale)
    _, always = sampled(apply(model), scales)
    late, some = sampled(apply(model, start=0.999, end=1.0), scales)
    nobody, none = sampled(apply(model, strength=0.0), scales)
    wanted = sample(model, cfg=scales[0])
    assert torch.allclose(late, wanted, atol=1e-3) and torch.allclose(nobody, wanted, atol=1e-3)
    needed = 1 if order == "text first" and first_scale == 1 else 2
    assert some == none == 3 * needed
    assert always == 3 * (2 if first_scale == 1 else 3)
    part, between = sampled(apply(model, end=0.5), scales)
    assert none < between < always or none == between == always
    assert not torch.allclose(part, wanted, atol=1e-3)


# D8


def test_d8_a_model_without_the_adapters_lora_is_told_on_the_node(pack, model, loaded, identity, apply, caplog):
    from dataclasses import replace

    with caplog.at_level(logging.WARNING):
        apply(model, replace(identity, adapter_fingerprint="ours"))
        assert "Likeness will suffer" in said_by(caplog, "Apply Slot-ID Identity")
        caplog.clear()
        apply(pack.nodes_slot_id_model.with_lora(model, loaded, 1.0), replace(identity, adapter_fingerprint="ours"))
        assert not caplog.records


def test_d8_an_adapter_without_lora_needs_none(model, loaded, apply, caplog, tmp_path, pack):
    """Also when its identity comes from a file."""
    from copy import copy

    bare = copy(loaded.module)
    bare.lora, bare.fingerprint = {}, "bare"
    who = bare(torch.randn(1, 16, 5, 16, 16), torch.randn(1, 16, 1, 16, 16))
    who.save(tmp_path / "who.safetensors")
    with caplog.at_level(logging.WARNING):
        apply(model, who)
        apply(model, pack.systems_slot_id.Identity.load(tmp_path / "who.safetensors"))
    assert "ikeness" not in caplog.text


def test_d8_ref_layers_without_a_reference_are_told_on_the_node(pack, model, caplog):
    module = SimpleNamespace(check_model=lambda *_: None, id_layers={}, ref_layers={"0": None})
    node = pack.nodes_lynx_apply.LynxApply
    with caplog.at_level(logging.WARNING):
        node.execute(model, SimpleNamespace(module=module), 1.0, 1.0, 0.0, 1.0, "all", "positive")
        assert "no reference is connected" in said_by(caplog, "Apply Lynx")
        caplog.clear()
        node.execute(model, SimpleNamespace(module=module), 1.0, 0.0, 0.0, 1.0, "all", "positive")
    assert not caplog.records


# D15


def test_d15_a_start_behind_the_end_is_an_error(pack, model, apply):
    with pytest.raises(pack.errors.SlotIDError, match="start_percent 0.7.*end_percent 0.3"):
        apply(model, start=0.7, end=0.3)
    with pytest.raises(pack.errors.SlotIDError, match="start_percent"):
        pack.nodes_shared_clean_latents.change_clean_latents(model, lambda clean, level: clean, 0.7, 0.3)
    apply(model, start=0.5, end=0.5)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((1, 16, 5, 16, 16), ""), ((1, 16, 5, 32, 32), "256 x 256.*128 x 128"), ((1, 16, 5, 16, 24), "192 x 128"),
        ((1, 16, 3, 16, 16), "9 frames.*17"), ((1, 16, 1, 16, 16), "single frame"),
    ],
)  # fmt: skip
def test_d15_a_clip_of_another_size_is_told_on_the_node(pack, loaded, caplog, shape, said):
    import re

    with caplog.at_level(logging.WARNING):
        pack.nodes_slot_id_encode.SlotIDTemporalEncoder.execute(loaded, {"samples": torch.randn(shape)})
    warned = said_by(caplog, "Slot-ID Temporal Encoder")
    assert bool(warned) == bool(said) and re.search(said, warned)


@pytest.mark.parametrize(("side", "said"), [(16, ""), (32, "256 x 256")])
def test_d15_a_portrait_of_another_size_is_told_on_the_node(pack, loaded, caplog, side, said):
    with caplog.at_level(logging.WARNING):
        pack.nodes_slot_id_encode.SlotIDImageAnchor.execute(loaded, {"samples": torch.randn(1, 16, 1, side, side)})
    warned = said_by(caplog, "Slot-ID Image Anchor")
    assert bool(warned) == bool(said) and said in warned
