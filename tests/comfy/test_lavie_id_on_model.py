"""LaVieID on ComfyUI's own Wan models, in process: what it equals, where it acts, and what it leaves and refuses."""

from dataclasses import replace

import comfy.clip_model
import comfy.context_windows
import comfy.ldm.wan.model
import comfy.model_patcher
import comfy.ops
import pytest
import torch
from comfy.model_management import InterruptProcessingException
from safetensors.torch import save_file
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
)

DEPTH, PARTS = 3, 6
MODULES = (
    "nodes.shared.patching", "nodes.lavie_id.apply", "nodes.lavie_id.encode", "nodes.lavie_id.maps",
    "nodes.lavie_id.patching", "nodes.lavie_id.person", "slotid_core.systems.lavie_id",
    "slotid_core.systems.lavie_id.random_checkpoints", "slotid_core.systems.lavie_id.vision", "slotid_core.wan",
    "slotid_core.reference.portrait.components",
)  # fmt: skip


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
    """An adapter; settings are changes of its router."""

    def make(width=WIDTH, depth=DEPTH, **router):
        random = pack["systems.lavie_id.random_checkpoints"]
        return random.random_adapter(width, depth, replace(random.ROUTER, **router))

    return make


@pytest.fixture
def someone(pack):
    def someone(seed=1, adapter="random", hidden=()):
        generator = torch.Generator().manual_seed(seed)
        shown = torch.ones(1, PARTS)
        shown[0, list(hidden)] = 0
        return pack["systems.lavie_id"].Person(torch.randn(1, PARTS, 4, 48, generator=generator), shown, adapter)

    return someone


@pytest.fixture
def apply(pack, make, someone):
    def apply(model, scale=1.0, start=0.0, end=1.0, seed=1, conditionings="positive", adapter=None, person=None):
        names = pack["shared.patching"].CONDITIONINGS[conditionings]
        return pack["lavie_id.patching"].apply_person(
            model, adapter or make(), person or someone(seed), scale, start, end, names
        )

    return apply


@pytest.mark.parametrize("in_dim", [16, 36])
@pytest.mark.parametrize("router", [{}, {"place": "after", "null_component": True}, {"routing": "uniform"}])
@pytest.mark.parametrize("rows", [None, (1.0, 0.0)])
def test_core_and_our_own_wan_do_the_same_with_a_router(pack, load, make, someone, in_dim, router, rows):
    wan, lavie_id = pack["wan"], pack["systems.lavie_id"]
    torch.manual_seed(0)
    ours = wan.WanModel(wan.WanConfig(dim=WIDTH, ffn_dim=512, num_layers=DEPTH, num_heads=2, in_dim=in_dim)).eval()
    core = load(in_dim=in_dim).model.diffusion_model.float()
    x = torch.randn(2, in_dim, 3, 8, 8, generator=torch.Generator().manual_seed(9))
    adapter, person = make(**router), someone(hidden=(2,))
    routes = adapter.router.routes(person.tokens, person.shown)
    condition = lavie_id.RouterCondition(adapter.router, routes, None if rows is None else torch.tensor(rows))
    results, bare = [], []
    for transformer in (core, ours):
        with torch.inference_mode():
            inputs = (x, torch.tensor([600.0, 300.0]), PROMPT[0][0].expand(2, -1, -1))
            options = lavie_id.install_router({}, transformer, condition, 48)
            results.append(transformer(*inputs, transformer_options=options))
            bare.append(transformer(*inputs))
    assert (results[0] - results[1]).abs().max() <= 1e-5
    assert (results[0] - bare[0])[0].abs().max() > 1e-3
    if rows is not None:
        assert torch.equal(results[0][1], bare[0][1])


@pytest.mark.parametrize("router", [{}, {"place": "after"}])
def test_scale_zero_is_the_incoming_model_and_scales_are_continuous(model, apply, make, router):
    base, adapter = sample(model), make(**router)
    assert torch.equal(sample(apply(model, 0.0, adapter=adapter)), base)
    distance = [(sample(apply(model, scale, adapter=adapter)) - base).abs().max() for scale in (0.01, 0.1, 1.0)]
    assert 0 < distance[0] < distance[1] < distance[2]
    assert (sample(apply(model, seed=5, adapter=adapter)) - sample(apply(model, adapter=adapter))).abs().max() > 1e-3
    assert torch.equal(sample(model), base)


@pytest.mark.parametrize("router", [{}, {"place": "after"}])
def test_batched_and_separate_passes_agree(model, apply, make, monkeypatch, router):
    patched = apply(model, adapter=make(**router))
    batched = sample(patched)
    separate_passes(model, monkeypatch)
    assert torch.allclose(sample(patched), batched, atol=5e-4)


def test_start_and_end_bound_the_router_in_time(model, apply):
    base, whole = sample(model), sample(apply(model))
    first, last = sample(apply(model, end=0.4)), sample(apply(model, start=0.6))
    assert not torch.equal(first, base) and not torch.equal(first, whole)
    assert not torch.equal(last, base) and not torch.equal(last, whole)
    assert not torch.equal(first, last)


def first_predictions(model) -> tuple[torch.Tensor, torch.Tensor]:
    """What the first step predicts with the positive prompt, and with the negative one."""
    seen = []

    def note(args):
        seen.append((args["cond_denoised"].clone(), args["uncond_denoised"].clone()))
        return args["denoised"]

    noting = model.clone()
    noting.set_model_sampler_post_cfg_function(note)
    sample(noting)
    return seen[0]


def test_the_person_is_in_the_rows_meant_alone(model, apply):
    base, routed = first_predictions(model), first_predictions(apply(model))
    assert torch.equal(routed[1], base[1])
    assert (routed[0] - base[0]).abs().max() > 1e-3


def test_context_windows_are_routed_each_for_itself(model, apply):
    """Windows that do not overlap are videos of their own."""
    handler = comfy.context_windows.IndexListContextHandler(
        comfy.context_windows.get_matching_context_schedule("standard_static"),
        comfy.context_windows.get_matching_fuse_method("flat"),
        context_length=3, context_overlap=0, dim=2,
    )  # fmt: skip
    vars(handler)["causal_window_fix"] = False  # newer ComfyUI puts a frame of the window before in front of each
    longer = {"samples": torch.zeros(1, 16, 6, 8, 8)}

    def windowed(patched):
        patched = patched.clone()
        patched.model_options["context_handler"] = handler
        return sample(patched, latent=longer)

    base, routed = windowed(model), windowed(apply(model))
    assert all((routed - base)[:, :, frame].abs().max() > 1e-4 for frame in range(6))


def test_an_image_to_video_model_is_routed(load, apply):
    model = load(in_dim=36, has_image_tokens=True)
    positive, negative = image_conditionings(PROMPT, NEGATIVE)
    base = sample(model, positive, negative)
    assert (sample(apply(model), positive, negative) - base).abs().max() > 1e-3


def test_nothing_is_left_after_an_interrupt(model, apply):
    base, patched = sample(model), apply(model)
    expected = sample(patched)

    def interrupt(*args):
        raise InterruptProcessingException()

    with pytest.raises(InterruptProcessingException):
        run_guider(cfg_guider(patched), callback=interrupt)
    assert torch.equal(sample(model), base) and torch.equal(sample(patched), expected)


def test_what_cannot_be_meant_is_refused(pack, load, model, apply, make, someone):
    with pytest.raises(ValueError, match="width 256 with 4 blocks"):
        apply(model, adapter=make(depth=4))
    with pytest.raises(ValueError, match="encoded with adapter other"):
        apply(model, person=someone(adapter="other"))
    other = model.clone()
    kind, other.model.diffusion_model.__class__ = (
        other.model.diffusion_model.__class__,
        comfy.ldm.wan.model.VaceWanModel,
    )
    try:
        with pytest.raises(ValueError, match="VACE"):
            apply(other)
    finally:
        other.model.diffusion_model.__class__ = kind
    with pytest.raises(ValueError, match="start_percent"):
        apply(model, start=0.8, end=0.2)


def test_models_that_lay_out_tokens_otherwise_are_refused_and_left_alone(load, apply):
    said = {"VaceWanModel": "VACE", "CameraWanModel": "CameraWanModel", "HumoWanModel": "HumoWanModel",
            "WanModel_S2V": "Wan 2.2 S2V"}  # fmt: skip
    for name, expected in said.items():
        other = load()
        other.model.diffusion_model.__class__ = getattr(comfy.ldm.wan.model, name)
        with pytest.raises(ValueError, match=expected):
            apply(other)
        assert not other.wrappers and not other.additional_models
    fun = load()
    fun.model.diffusion_model.ref_conv = torch.nn.Conv2d(16, WIDTH, 2)
    with pytest.raises(ValueError, match="plain Wan"):
        apply(fun)


def test_what_is_not_finite_or_a_persons_of_no_face_is_said_at_the_node(pack, make):
    encode = pack["lavie_id.person"].LaVieIDEncodePerson.execute
    nan, grey = torch.full((1, 32, 32, 3), float("nan")), torch.full((1, 32, 32, 3), 0.5)
    with pytest.raises(ValueError, match="frames hold NaN"):
        encode(make(), nan, "auto", "skip", "none")
    with pytest.raises(ValueError, match="masks hold NaN"):
        encode(make(), grey, "auto", "skip", "none", masks=torch.full((PARTS, 32, 32), float("nan")))
    with pytest.raises(ValueError, match="Masks of shape .* needed are 6 a picture"):
        encode(make(), grey, "auto", "skip", "none", masks=torch.ones(PARTS, 16, 16))
    with pytest.raises(ValueError, match="No component of the face can be seen"):
        encode(make(), grey, "auto", "skip", "none", masks=torch.zeros(PARTS, 32, 32))


@pytest.mark.parametrize("router", [{}, {"place": "after", "null_component": True}])
def test_router_maps_show_what_the_router_weighs(pack, model, make, someone, router):
    maps, adapter, person = pack["lavie_id.maps"], make(**router), someone(hidden=(5,))
    latents = torch.randn(1, 16, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    node = maps.LaVieIDRouterMaps
    with torch.inference_mode():
        weights, grid = maps.weights_over(model, adapter, person, PROMPT, latents, 0.2)
        shown = node.execute(model, adapter, person, PROMPT, {"samples": latents}, 0.2, 0.5).args[0]
        frames = torch.zeros(9, 64, 64, 3)
        over = node.execute(model, adapter, person, PROMPT, {"samples": latents}, 0.2, 0.25, frames).args[0]
    assert grid == (3, 4, 4) and weights.shape == (48, 6 + bool(router))
    assert torch.allclose(weights.sum(1), torch.ones(48), atol=1e-5) and (weights[:, 5] == 0).all()
    assert shown.shape == (9, 64, 64, 3) and shown.min() >= 0 and shown.max() <= 1
    assert torch.equal(shown[1], shown[4]) and not torch.equal(shown[0], shown[1])
    assert torch.allclose(over, 0.25 * shown, atol=1e-6)
    for wrong, said in ((latents[0], "shape"), (latents[:, :8], "shape"), (latents * float("nan"), "NaN")):
        with pytest.raises(ValueError, match=said):
            maps.weights_over(model, adapter, person, PROMPT, wrong, 0.2)


@pytest.fixture
def clip_vision(pack):
    """ComfyUI's CLIP vision network, small, in the form that its loader gives, and ours with the same weights."""
    vision = pack["systems.lavie_id.vision"]
    settings = {
        "num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64,
        "hidden_act": "gelu", "model_type": "clip_vision_model", "num_channels": 3, "patch_size": 8, "image_size": 32,
        "projection_dim": 16,
    }  # fmt: skip
    torch.manual_seed(0)
    ours = vision.ClipVision(32, 3, 2, 64, 8, 32, 16)
    torch.nn.init.normal_(ours.vision_model.embeddings.class_embedding)
    network = comfy.clip_model.CLIPVisionModelProjection(settings, torch.float32, "cpu", comfy.ops.manual_cast)
    network.load_state_dict(ours.state_dict())

    class Loaded:
        model = network.eval()
        patcher = comfy.model_patcher.ModelPatcher(network, torch.device("cpu"), torch.device("cpu"))
        load_device = torch.device("cpu")

    return Loaded(), ours.eval()


def clip_adapter(pack, width=32):
    random, lavie_id = pack["systems.lavie_id.random_checkpoints"], pack["systems.lavie_id"]
    vision = lavie_id.VisionConfig(side=32, width=width, pooled_width=16, levels=(1, 2), patch=8, heads=2)
    return random.random_adapter(WIDTH, DEPTH, vision=vision)


def test_comfyuis_clip_and_ours_see_the_same(pack, clip_vision):
    loaded, ours = clip_vision
    vision, encode, adapter = pack["systems.lavie_id.vision"], pack["lavie_id.encode"], clip_adapter(pack)
    pictures = torch.rand(4, 3, 32, 32)
    with torch.inference_mode():
        by_comfyui = encode.vision_of(adapter, loaded)(pictures)
        by_us = vision.clip_features(ours, pictures, (1, 2))
    assert len(by_us.levels) == 2 and by_us.levels[0].shape == (4, 17, 32)
    for a, b in zip((*by_us.levels, by_us.pooled), (*by_comfyui.levels, by_comfyui.pooled), strict=True):
        assert (a - b).abs().max() < 1e-5
    assert not any(layer._forward_pre_hooks for layer in loaded.model.vision_model.encoder.layers)


def test_a_person_is_encoded_with_clip_and_its_lack_is_said(pack, clip_vision):
    encode, components = pack["lavie_id.encode"], pack["reference.portrait.components"]
    loaded, _ = clip_vision
    places = torch.ones(PARTS, 4)
    places[2] = 0
    found = components.Components(torch.rand(PARTS, 3, 32, 32), places, torch.ones(PARTS))
    with torch.inference_mode():
        tokens, shown = encode.encode(clip_adapter(pack), found, None, loaded)
    assert tokens.shape == (1, PARTS, 4, 48) and shown.tolist() == [[1, 1, 0, 1, 1, 1]]
    with pytest.raises(ValueError, match="Load clip_vision_h"):
        encode.check_needs(clip_adapter(pack), None, False)
    with pytest.raises(ValueError, match="trained with a vision network of width 64"):
        encode.encode(clip_adapter(pack, width=64), found, None, loaded)


def test_a_person_is_encoded_with_eva_clip_of_a_file(pack, tmp_path):
    """As with the network itself; what is missing, or another network's file, is said."""
    encode, random = pack["lavie_id.encode"], pack["systems.lavie_id.random_checkpoints"]
    lavie_id, vision = pack["systems.lavie_id"], pack["systems.lavie_id.vision"]
    torch.manual_seed(0)
    network = vision.EvaVision(32, 3, 2, 64, 8, 32, 16).eval()
    path = tmp_path / "EVA02_small.safetensors"
    save_file({f"visual.{name}": tensor for name, tensor in network.state_dict().items()}, path)
    kind = {"side": 32, "width": 32, "pooled_width": 16, "levels": (1, 2), "patch": 8, "heads": 2}
    adapter = random.random_adapter(WIDTH, DEPTH, vision=lavie_id.VisionConfig("eva02_clip_l", **kind))
    places = torch.ones(PARTS, 4)
    found = pack["reference.portrait.components"].Components(torch.rand(PARTS, 3, 32, 32), places, torch.ones(PARTS))
    with torch.inference_mode():
        tokens, _ = encode.encode(adapter, found, None, None, str(path))
        see = vision.seen_by(network, adapter.config.vision)
        assert torch.allclose(tokens, adapter.tokens(found.pictures[None], places[None], None, see), atol=1e-5)
    with pytest.raises(ValueError, match="EVA02-CLIP-L. Put EVA02_CLIP_L_336_psz14_s6B.pt into models/clip_vision"):
        encode.check_needs(adapter, None, False)
    wide = random.random_adapter(WIDTH, DEPTH, vision=lavie_id.VisionConfig("eva02_clip_l", **kind | {"width": 64}))
    with pytest.raises(ValueError, match="EVA02_small.*trained with a vision network of width 64"):
        encode.encode(wide, found, None, None, str(path))
