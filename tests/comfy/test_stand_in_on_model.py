"""Stand-In's published LoRA on ComfyUI's own Wan, in process: what it equals, when nothing changes, what it leaves."""

import logging

import pytest
import torch
from safetensors.torch import save_file
from wan_models import LATENT, NEGATIVE, PROMPT, WIDTH, load_wan, run_guider, sample, separate_passes

DEPTH, RANK = 3, 8
SIDE = 12  # latents of the picture; the video has 8


@pytest.fixture(scope="module")
def pack(pack_module):
    names = (
        "nodes.shared.patching", "nodes.st_drc.apply", "nodes.st_drc.patching", "nodes.sampling.guider",
        "slotid_core.systems.st_drc", "slotid_core.wan",
    )  # fmt: skip
    return {name.rpartition("slotid_core.")[2].removeprefix("nodes."): pack_module(name) for name in names}


@pytest.fixture(scope="module")
def model(pack):
    return load_wan(pack["wan"], DEPTH)


@pytest.fixture(scope="module")
def adapter(pack, tmp_path_factory):
    """Of a file in the published layout."""
    generator = torch.Generator().manual_seed(4)
    tensors = {
        f"blocks.{block}.self_attn.{layer}_loras.{part}.weight": torch.randn(shape, generator=generator) * 0.1
        for block in range(DEPTH) for layer in "qkv" for part, shape in (("down", (RANK, WIDTH)), ("up", (WIDTH, RANK)))
    }  # fmt: skip
    path = tmp_path_factory.mktemp("adapters") / "stand_in.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    return pack["systems.st_drc"].load_adapter(path)


@pytest.fixture
def apply(pack, adapter):
    def apply(model, scale=1.0, start=0.0, end=1.0, seed=1):
        latents = torch.randn(1, 16, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
        names = pack["shared.patching"].CONDITIONINGS["positive"]
        person = pack["systems.st_drc"].Person(latents)
        return pack["st_drc.patching"].apply_reference(model, adapter, person, scale, start, end, names)

    return apply


@pytest.mark.parametrize("rows", [None, (1.0, 0.0)])
def test_core_and_our_own_wan_do_the_same(pack, adapter, rows):
    wan, st_drc = pack["wan"], pack["systems.st_drc"]
    torch.manual_seed(0)
    ours = wan.WanModel(wan.WanConfig(dim=WIDTH, ffn_dim=512, num_layers=DEPTH, num_heads=2)).eval()
    loaded = load_wan(wan, DEPTH)
    assert loaded is not None
    core = loaded.model.diffusion_model.float()
    generator = torch.Generator().manual_seed(9)
    x = torch.randn(2, 16, 3, 8, 8, generator=generator)
    condition = st_drc.ReferenceCondition(
        torch.randn(1, 16, 1, SIDE, SIDE, generator=generator), adapter.config.layout,
        None if rows is None else torch.tensor(rows), lora=adapter.token_lora,
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


def test_scale_zero_and_outside_of_its_range_is_the_incoming_model(model, apply):
    base = sample(model)
    assert torch.equal(sample(apply(model, 0.0)), base)
    assert torch.equal(sample(apply(model, start=0.999)), base)
    whole = sample(apply(model))
    assert (whole - base).abs().max() > 1e-2
    assert (sample(apply(model, seed=5)) - whole).abs().max() > 1e-3
    assert torch.equal(sample(model), base)
    assert not [m for m in model.model.diffusion_model.modules() if m._forward_pre_hooks or m._forward_hooks]


def test_batched_and_separate_passes_agree(model, apply, monkeypatch):
    patched = apply(model)
    batched = sample(patched)
    separate_passes(model, monkeypatch)
    assert torch.allclose(sample(patched), batched, atol=5e-4)


def test_the_template_guides_as_the_authors_do(pack, model, apply):
    """Their guidance has the picture in the negative pass too: v(∅,r) + s [v(c,r) - v(∅,r)], two passes a step."""
    guider, passes = pack["sampling.guider"], []

    def counted(function, arguments):
        passes.append(len(arguments["input"]))
        return function(arguments["input"], arguments["timestep"], **arguments["c"])

    patched = apply(model)
    patched.set_model_unet_function_wrapper(counted)
    sigmas = torch.tensor([1.0, 0.0])
    guided = run_guider(guider.make_guider(patched, PROMPT, NEGATIVE, 5.0, 1.0, "identity first"), sigmas=sigmas)
    assert sum(passes) == 2
    alone = [run_guider(one_stream(apply(model), text), sigmas=sigmas) for text in (NEGATIVE, PROMPT)]
    expected = alone[0] + 5.0 * (alone[1] - alone[0])
    assert torch.allclose(guided, expected, atol=2e-3) and (guided - alone[1]).abs().max() > 1e-1


def one_stream(model, text):
    """The prediction of one conditioning, with the person."""
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(text, text)
    guider.set_cfg(1.0)
    return guider


def test_layers_are_counted_and_a_picture_of_another_size_is_said(model, apply, adapter, caplog, pack):
    with caplog.at_level(logging.INFO):
        sample(apply(model))
    assert "on 9 layers of self-attention in 3 blocks" in caplog.text and "encoded at" not in caplog.text
    person, said = pack["systems.st_drc"].Person, pack["st_drc.patching"].picture_warning
    assert said(adapter, person(torch.zeros(1, 16, 1, 64, 64))) == ""
    assert "1 picture of 64x96;" in said(adapter, person(torch.zeros(1, 16, 1, 12, 8)))
    assert "2 pictures of 512x512;" in said(adapter, person(torch.zeros(1, 16, 2, 64, 64)))
    with caplog.at_level(logging.WARNING):
        pack["st_drc.apply"].STDRCApply.execute(
            model, adapter, person(torch.zeros(1, 16, 1, 12, 8)), 1.0, 0.0, 1.0, "positive"
        )
    assert "trained with one picture of 512x512" in caplog.text


def test_there_is_nothing_to_put_on_the_weights(pack, model, adapter):
    patching = pack["st_drc.patching"]
    assert patching.with_lora(model, adapter, 1.0) is model and patching.lora_warning(model, adapter) == ""


def test_the_video_of_these_tests_is_of_another_size_than_the_picture():
    assert LATENT["samples"].shape[3:] != (SIDE, SIDE)
