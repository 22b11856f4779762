"""Several people in regions of ComfyUI's own Wan models: who reaches what, on which models, and what is refused.

The models have one block and sample one step. Nothing can have spread to other tokens then, so that the video must be
each person's alone in their region, and the incoming model's outside of both.
"""

import math
from types import SimpleNamespace

import comfy.context_windows
import comfy.ldm.wan.model
import pytest
import torch
from wan_models import LATENT, NEGATIVE, PROMPT, WIDTH, image_conditionings, load_wan, sample, separate_passes, text

import nodes as core_nodes

MODULES = (
    "nodes.people.region", "nodes.shared.patching", "nodes.shared.regions", "nodes.slot_id.patching",
    "nodes.st_drc.patching", "nodes.lynx.patching", "nodes.lavie_id.patching", "slotid_core.systems.slot_id",
    "slotid_core.systems.lavie_id", "slotid_core.systems.lavie_id.random_checkpoints", "slotid_core.systems.st_drc",
    "slotid_core.systems.st_drc.random_checkpoints", "slotid_core.wan", "slotid_core.wan.hooks.attention",
    "slotid_core.wan.region",
)  # fmt: skip
POSITIVE = frozenset({"positive"})
SYSTEMS = ("slot_id", "lynx", "st_drc", "stand_in", "lavie_id")


@pytest.fixture(scope="module")
def pack(pack_module):
    return {name.removeprefix("nodes.").removeprefix("slotid_core."): pack_module(name) for name in MODULES}


@pytest.fixture(scope="module")
def load(pack):
    def load(depth=1, **settings):
        return load_wan(pack["wan"], depth, **settings)

    return load


@pytest.fixture(scope="module")
def model(load):
    return load()


@pytest.fixture
def put(pack):
    """(system, MODEL, seed of a person, region) -> MODEL, by what the Apply nodes call."""

    def slot_id(model, seed, region, depth):
        generator = torch.Generator().manual_seed(seed)
        film = 0.3 * torch.randn(2, 1, 1, 2, WIDTH, generator=generator)
        identity = pack["systems.slot_id"].Identity(
            torch.randn(1, 2, WIDTH, generator=generator), torch.randn(1, 6, WIDTH, generator=generator), film[0],
            film[1], WIDTH, depth, pack["systems.slot_id"].GateSchedule("linear"),
        )  # fmt: skip
        return pack["slot_id.patching"].apply_identity(
            model, identity, 1.0, 0.0, 1.0, range(depth), POSITIVE, region=region
        )

    def lynx(model, seed, region, depth):
        generator = torch.Generator().manual_seed(seed)
        branch = pack["wan.hooks.attention"].AttentionBranch
        face, reference = (
            {index: branch(*torch.randn(2, 2, 5, WIDTH, generator=generator), False) for index in range(depth)}
            for _ in range(2)
        )
        held = pack["lynx.patching"].hold(model, face, reference)
        return pack["lynx.patching"].apply_lynx(model, held, 1.0, 0.5, 0.0, 1.0, range(depth), POSITIVE, region)

    def st_drc(model, seed, region, depth, **layout):
        settings = pack["systems.st_drc"].LayoutConfig(**layout)
        adapter = pack["systems.st_drc.random_checkpoints"].random_adapter(WIDTH, depth, settings)
        generator = torch.Generator().manual_seed(seed)
        person = pack["systems.st_drc"].Person(torch.randn(1, 16, 1, 4 + 2 * seed, 8, generator=generator))
        return pack["st_drc.patching"].apply_reference(model, adapter, person, 1.0, 0.0, 1.0, POSITIVE, region)

    def stand_in(model, seed, region, depth):
        return st_drc(model, seed, region, depth, reference_attends="itself", reads_text=False)

    def lavie_id(model, seed, region, depth):
        random = pack["systems.lavie_id.random_checkpoints"]
        adapter = random.random_adapter(WIDTH, depth, place_after(random.ROUTER))
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randn(1, 6, 4, 48, generator=generator)
        person = pack["systems.lavie_id"].Person(tokens, torch.ones(1, 6), adapter.fingerprint)
        return pack["lavie_id.patching"].apply_person(model, adapter, person, 1.0, 0.0, 1.0, POSITIVE, region=region)

    systems = {"slot_id": slot_id, "lynx": lynx, "st_drc": st_drc, "stand_in": stand_in, "lavie_id": lavie_id}
    return lambda system, model, seed=1, region=None, depth=1: systems[system](model, seed, region, depth)


def place_after(router):
    from dataclasses import replace

    return replace(router, place="after")


def one_step(model, positive=PROMPT, negative=NEGATIVE, latent=LATENT):
    with torch.inference_mode():
        return core_nodes.common_ksampler(model, 3, 1, 5.0, "euler", "simple", positive, negative, latent)[0]["samples"]


def in_latents(region, grid=(3, 4, 4)):
    return (region.weights(grid) > 0.5).repeat_interleave(2, 1).repeat_interleave(2, 2)


@pytest.fixture(scope="module")
def sides(pack):
    box = pack["wan.region"].box
    return box(0, 0, 0.5, 1), box(0.5, 0, 0.5, 0.5)


def check_sides(model, put, sides, systems, *conditionings):
    base = one_step(model, *conditionings)
    alone = [one_step(put(system, model, seed), *conditionings) for seed, system in enumerate(systems, 1)]
    both = model
    for seed, (system, region) in enumerate(zip(systems, sides, strict=True), 1):
        both = put(system, both, seed, region)
    left, right = (in_latents(region) for region in sides)
    expected = torch.where(left, alone[0], torch.where(right, alone[1], base))
    assert min((one - base).abs().max() for one in alone) > 1e-3
    assert (one_step(both, *conditionings) - expected).abs().max() < 1e-4 * base.abs().max()


@pytest.mark.parametrize("system", SYSTEMS)
def test_two_people_of_one_system(model, put, sides, system):
    check_sides(model, put, sides, (system, system))


@pytest.mark.parametrize("systems", [("slot_id", "lynx"), ("lynx", "stand_in"), ("st_drc", "slot_id")])
def test_each_side_has_a_system_of_its_own(model, put, sides, systems):
    check_sides(model, put, sides, systems)


@pytest.mark.parametrize("system", SYSTEMS)
def test_image_to_video_with_image_tokens(load, put, sides, system):
    model = load(in_dim=36, has_image_tokens=True)
    torch.manual_seed(0)
    check_sides(model, put, sides, (system, system), *image_conditionings(PROMPT, NEGATIVE))


def test_prompts_without_room(model, put, sides):
    """510 rows of prompt leave two rows of padding for the eight that a person needs."""
    check_sides(model, put, sides, ("slot_id", "slot_id"), text(1, rows=510), NEGATIVE)


@pytest.mark.parametrize("system", SYSTEMS)
def test_everything_is_no_region_and_strength_is_where_it_was(pack, load, put, system):
    model, whole = load(depth=2), pack["wan.region"].box(0, 0, 1, 1)
    assert torch.equal(sample(put(system, model, region=whole, depth=2)), sample(put(system, model, depth=2)))


@pytest.mark.parametrize("system", SYSTEMS)
def test_batched_and_separate_passes_agree(load, put, sides, monkeypatch, system):
    model = load(depth=2)
    patched = put(system, put(system, model, 1, sides[0], 2), 2, sides[1], 2)
    batched = sample(patched)
    separate_passes(model, monkeypatch)
    assert torch.allclose(batched, sample(patched), atol=1e-4)
    assert torch.equal(sample(model), sample(model.clone())), "nothing stays"


def test_a_moving_mask_in_context_windows(pack, model, put):
    """Each window gets the mask of its own frames: the person is in the last two latent frames alone."""
    handler = comfy.context_windows.IndexListContextHandler(
        context_schedule=comfy.context_windows.get_matching_context_schedule("standard_static"),
        fuse_method=comfy.context_windows.get_matching_fuse_method("pyramid"), context_length=2, context_overlap=0,
        context_stride=1, closed_loop=False, dim=2,
    )  # fmt: skip
    mask = torch.zeros(13, 8, 8)
    mask[5:, :, :4] = 1
    windowed = model.clone()
    windowed.model_options["context_handler"] = handler
    latent = {"samples": torch.zeros(1, 16, 4, 8, 8)}
    base, alone = one_step(windowed, latent=latent), one_step(put("slot_id", windowed), latent=latent)
    ours = one_step(put("slot_id", windowed, region=pack["wan.region"].Region(mask)), latent=latent)
    expected = base.clone()
    expected[:, :, 2:, :, :4] = alone[:, :, 2:, :, :4]
    assert (ours - expected).abs().max() < 1e-4 * base.abs().max()


def test_the_frame_in_front_of_a_window_is_counted(pack):
    """ComfyUI 0.33.0 puts it there; a mask would otherwise be that of the whole video."""
    frames, x = pack["shared.patching"].window_frames, torch.zeros(1, 16, 3, 8, 8)
    window = SimpleNamespace(dim=2, index_list=[4, 5], causal_anchor_index=3)
    assert frames({"context_window": window}, x) == (3, 4, 5)
    assert frames({"context_window": SimpleNamespace(dim=2, index_list=[0, 1, 2])}, x) == (0, 1, 2)
    assert frames({"context_window": SimpleNamespace(dim=2, index_list=[4, 5])}, x) is None and frames({}, x) is None


def test_models_with_other_tokens_in_front_are_refused(pack, load, put, sides):
    model = load()
    model.model.diffusion_model.ref_conv = torch.nn.Conv2d(16, WIDTH, 2, 2)
    with pytest.raises(Exception, match="plain order"):
        put("slot_id", model, region=sides[0])
    put("slot_id", model)


def test_the_node_and_what_it_refuses(pack):
    node = pack["people.region"].SlotIDRegion

    def tokens(*values, **named):
        return node.execute(*values, **named).args[0].tokens((1, 2, 6)).index.tolist()

    assert tokens("right half", 0, 0, 1, 1) == [3, 4, 5, 9, 10, 11]
    assert tokens("middle third", 0, 0, 1, 1) == [2, 3, 8, 9]
    assert tokens("box", 0, 0.5, 0.5, 0.5) == [6, 7, 8]
    assert tokens("mask", 0, 0, 1, 1, mask=torch.eye(2)) == [0, 1, 2, 9, 10, 11]
    for values, named, message in (
        (("mask", 0, 0, 1, 1), {}, "no mask is connected"),
        (("left half", 0, 0, 1, 1), {"mask": torch.ones(1, 2, 2)}, "A mask is connected"),
        (("box", 0.5, 0, 0.0, 1), {}, "nothing in the frame"),
        (("mask", 0, 0, 1, 1), {"mask": torch.zeros(1, 2, 2)}, "empty"),
        (("mask", 0, 0, 1, 1), {"mask": torch.full((1, 2, 2), math.nan)}, "outside of 0 to 1"),
    ):
        with pytest.raises(Exception, match=message):
            node.execute(*values, **named)
