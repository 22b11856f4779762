"""Several people in one frame: what each of them reaches, against dense masks and against each person alone."""

import math
from dataclasses import replace

import pytest
import torch
from conftest import TINY_WIDTH, random_identity, tiny_wan

from slotid_core.errors import SlotIDError
from slotid_core.systems.lavie_id.config import RouterConfig
from slotid_core.systems.lavie_id.injection import RouterCondition, install_router
from slotid_core.systems.lavie_id.router import LocalRouter
from slotid_core.systems.slot_id.injection import install_identity
from slotid_core.wan import WanConfig, WanModel
from slotid_core.wan.hooks.attention import AttentionBranch, WeightedBranch, add_branches
from slotid_core.wan.hooks.blocks import wrap_blocks
from slotid_core.wan.hooks.cache import RunCache
from slotid_core.wan.hooks.reads import Read, attend_with
from slotid_core.wan.hooks.regions import TokenRegion
from slotid_core.wan.hooks.rows import run_rows_apart
from slotid_core.wan.hooks.text_rows import count_padding
from slotid_core.wan.hooks.tokens import AppendedTokens, KeptKeys, append_tokens
from slotid_core.wan.model import SELF_ATTENTION, TEXT_ATTENTION
from slotid_core.wan.region import Region, box
from slotid_core.wan.rope import rotary_matrices

GRID, LATENTS = (3, 4, 4), (16, 3, 8, 8)
LEFT, RIGHT, ALL = box(0, 0, 0.5, 1), box(0.5, 0, 0.5, 1), box(0, 0, 1, 1)


def inputs(real_rows=10, length=40, batch=2):
    generator = torch.Generator().manual_seed(5)
    text = torch.zeros(batch, length, 4096)
    text[:, :real_rows] = torch.randn(batch, real_rows, 4096, generator=generator)
    return torch.randn(batch, *LATENTS, generator=generator), torch.full((batch,), 600.0), text


def run(model, args, options=None, **named):
    with torch.no_grad():
        return model(*args, transformer_options=options or {}, **named)


def one_block(**settings) -> WanModel:
    """In one block nothing of a region can have spread to other tokens yet."""
    torch.manual_seed(0)
    config = WanConfig(dim=TINY_WIDTH, ffn_dim=256, num_layers=1, num_heads=1, **settings)
    return WanModel(config).eval().requires_grad_(False)


def in_latents(region: Region) -> torch.Tensor:
    """(3, 8, 8) boolean, of a region whose edges are those of tokens."""
    return (region.weights(GRID) > 0.5).repeat_interleave(2, 1).repeat_interleave(2, 2)


# Each way in: (options, model, args, seed of a person, region or None, rows with a person) -> options.
def slot_id(options, model, args, seed, region, rows):
    identity = replace(random_identity(seed, film_blocks=1), model_depth=len(model.blocks))
    condition = replace(identity.condition(args[1] / 1000, rows), region=region)
    return install_identity(
        options, condition, range(len(model.blocks)), count_padding(args[2]),
        lambda: model.text_embedding(torch.zeros(1, 1, 4096)), transformer=model,
    )  # fmt: skip


def branches(options, model, args, seed, region, rows):
    generator = torch.Generator().manual_seed(seed)
    tensors = torch.randn(2, 2, 2, 5, TINY_WIDTH, generator=generator)
    made = [AttentionBranch(key, value, is_normalized=False) for key, value in tensors]
    added = {
        kind: WeightedBranch(branch, 0.7, region)
        for kind, branch in zip((SELF_ATTENTION, TEXT_ATTENTION), made, strict=True)
    }
    return add_branches(options, model, dict.fromkeys(range(len(model.blocks)), added), rows.long())


def appended(options, model, args, seed, region, rows, **settings):
    generator = torch.Generator().manual_seed(seed)
    count = (1, 2, 1 + seed)  # people with pictures of different sizes
    tokens = torch.randn(1, math.prod(count), TINY_WIDTH, generator=generator)
    rotary = rotary_matrices(count, 128, offset=(3, 4, 4))
    return append_tokens(
        options, model, AppendedTokens(tokens, rotary, rows=rows > 0, region=region, **settings)
    )  # fmt: skip


def appended_apart(*args):
    return appended(*args, attends="itself", reads_text=False)


def routed(options, model, args, seed, region, rows):
    torch.manual_seed(seed)
    router = LocalRouter(RouterConfig(heads=2, head_width=8, place="after"), 3, 4, 16, TINY_WIDTH)
    torch.nn.init.normal_(router.attention.to_out.weight)
    with torch.no_grad():
        routes = router.routes(torch.randn(1, 3, 4, 16), torch.ones(1, 3))
    return install_router(options, model, RouterCondition(router, routes, rows, region=region), math.prod(GRID))


WAYS = (slot_id, branches, appended, appended_apart, routed)
NOBODY_TOO = (branches,)  # whose rows without the person get "nobody"


@pytest.mark.parametrize("install", WAYS)
def test_each_side_gets_its_own_person_and_the_background_nobody(install):
    model, args, rows = one_block(), inputs(), torch.tensor([0.0, 1.0])
    base = run(model, args)
    alone = [run(model, args, install({}, model, args, seed, None, rows)) for seed in (1, 2)]
    corner = box(0.5, 0, 0.5, 0.5)
    options = install({}, model, args, 1, LEFT.tokens(GRID), rows)
    options = install(options, model, args, 2, corner.tokens(GRID), rows)
    both = run(model, args, options)
    expected = torch.where(in_latents(LEFT), alone[0], torch.where(in_latents(corner), alone[1], base))
    assert (alone[0] - base)[1].abs().max() > 1e-3 and (alone[0] - alone[1])[1].abs().max() > 1e-3
    assert torch.allclose(both, expected, atol=2e-6)
    if install not in NOBODY_TOO:
        assert torch.equal(both[0], base[0])


@pytest.mark.parametrize("install", WAYS)
def test_a_region_of_everything_is_no_region(install):
    model, args, rows = tiny_wan(), inputs(), torch.tensor([1.0, 0.0])
    without = run(model, args, install({}, model, args, 1, None, rows))
    assert (without - run(model, args)).abs().max() > 1e-3
    assert torch.allclose(run(model, args, install({}, model, args, 1, ALL.tokens(GRID), rows)), without, atol=2e-6)


@pytest.mark.parametrize("install", WAYS)
def test_a_person_nowhere_in_this_window_is_the_model_itself(install):
    model, args = tiny_wan(), inputs()
    nowhere = TokenRegion(torch.empty(0, dtype=torch.long), torch.empty(0), math.prod(GRID))
    options = install({}, model, args, 1, nowhere, torch.ones(2))
    assert torch.equal(run(model, args, options), run(model, args))


@pytest.mark.parametrize("real_rows", [38, 40])
def test_without_room_in_the_prompt_rows_are_added_for_the_region_alone(real_rows):
    model, args, rows = one_block(), inputs(real_rows), torch.tensor([0.0, 1.0])
    base, alone = run(model, args), run(model, args, slot_id({}, model, args, 1, None, rows))
    ours = run(model, args, slot_id({}, model, args, 1, LEFT.tokens(GRID), rows))
    assert torch.allclose(ours, torch.where(in_latents(LEFT), alone, base), atol=2e-6)
    assert torch.equal(ours[0], base[0])


def test_what_all_blocks_ask_is_answered_once_a_pass(monkeypatch):
    """On a GPU each copy to the CPU waits for it, and embedding the padding again reads two weights of the model."""
    args, rows, asked, copies, embedded = inputs(real_rows=38), torch.tensor([0.0, 1.0]), [], [], []
    copy = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: copies.append(1) or copy(tensor))
    for model in (one_block(), tiny_wan()):
        copies.clear(), embedded.clear()
        options = slot_id({}, model, args, 1, LEFT.tokens(GRID), rows)
        model.text_embedding.register_forward_hook(lambda *_: embedded.append(1))
        run(model, args, options)
        asked.append((len(copies), len(embedded)))
    assert len(tiny_wan().blocks) > 1 and asked[0] == asked[1]


def test_one_padding_row_that_stands_for_all_gives_the_same():
    """As in training and evaluation, where a context has one row of padding instead of hundreds."""
    model, (x, time, text), rows = tiny_wan(), inputs(length=512), torch.ones(2)
    everything = slot_id(slot_id({}, model, (x, time, text), 1, LEFT.tokens(GRID), rows), model, (x, time, text), 2,
                         RIGHT.tokens(GRID), rows)  # fmt: skip
    short, options = text[:, :11], {}
    for seed, region in ((1, LEFT), (2, RIGHT)):
        condition = replace(
            random_identity(seed, film_blocks=1).condition(time / 1000, rows), region=region.tokens(GRID)
        )
        options = install_identity(options, condition, range(len(model.blocks)), padding_row=10, transformer=model)
    ours = run(model, (x, time, short), options, padding_row=10)
    assert torch.allclose(ours, run(model, (x, time, text), everything), atol=1e-5)


def test_one_person_everywhere_and_another_in_a_region():
    """The one in the region is drawn beside the other's rows, which are over padding too."""
    model, args, rows = one_block(), inputs(), torch.ones(2)
    everywhere = slot_id({}, model, args, 1, None, rows)
    both = run(model, args, slot_id({}, model, args, 1, None, rows) | {})
    ours = run(model, args, slot_id(everywhere, model, args, 2, LEFT.tokens(GRID), rows))
    two = run(model, args, slot_id(everywhere, model, args, 2, None, rows))
    assert torch.allclose(ours, torch.where(in_latents(LEFT), two, both), atol=2e-6)


def test_systems_share_a_region_in_either_order():
    model, args, rows = one_block(), inputs(), torch.ones(2)
    left = LEFT.tokens(GRID)
    for first, second in ((slot_id, branches), (branches, appended), (slot_id, appended_apart), (appended, slot_id)):
        for regions in ((left, left), (left, RIGHT.tokens(GRID))):
            one = run(
                model, args, second(first({}, model, args, 1, regions[0], rows), model, args, 2, regions[1], rows)
            )
            other = run(
                model, args, first(second({}, model, args, 2, regions[1], rows), model, args, 1, regions[0], rows)
            )
            assert torch.allclose(one, other, atol=1e-5), (first.__name__, second.__name__)


def test_rows_that_run_apart_keep_their_people():
    model, args = tiny_wan(), inputs()
    rows = torch.tensor([1.0, 0.0])
    options = slot_id({}, model, args, 1, LEFT.tokens(GRID), rows)
    options = appended_apart(options, model, args, 2, RIGHT.tokens(GRID), rows)

    def apart(arguments, run_block):
        return run_rows_apart(run_block, arguments, arguments["txt"], torch.tensor([False, True]))

    expected = run(model, args, options)
    ours = run(model, args, wrap_blocks(options, dict.fromkeys(range(4), apart)))
    assert torch.allclose(ours, expected, atol=1e-5)


def test_kept_keys_are_read_in_their_region():
    """Two people with a cache each, in the pass that fills it and in those that read it."""
    model, args, generator = tiny_wan(), inputs(), torch.Generator().manual_seed(1)
    modulation = torch.randn(1, 1, 6, TINY_WIDTH, generator=generator)
    made = [
        AppendedTokens(
            torch.randn(1, 4, TINY_WIDTH, generator=generator), rotary_matrices((1, 2, 2), 128, offset=(3, 4, 4)),
            modulation, attends="itself", reads_text=False, region=region.tokens(GRID),
        )
        for region in (LEFT, RIGHT)
    ]  # fmt: skip
    caches = [KeptKeys(RunCache(), "person") for _ in made]
    passes = []
    for kept in (None, caches, caches):
        options = {}
        for number, one in enumerate(made):
            options = append_tokens(options, model, one, None if kept is None else kept[number])
        passes.append(run(model, args, options))
    assert torch.allclose(passes[1], passes[0], atol=1e-6) and torch.allclose(passes[2], passes[0], atol=1e-5)
    assert not torch.equal(passes[0], run(model, args))


@pytest.mark.parametrize("attends", ["all", "itself"])
def test_appended_people_against_a_dense_mask(attends):
    """Who reads whom, token by token, through four blocks: nothing of one person gets to the other's reference."""
    model, args = tiny_wan(), inputs(batch=1)
    regions = [LEFT.tokens(GRID), RIGHT.tokens(GRID)]
    options, rows = {}, torch.ones(1)
    for seed, region in enumerate(regions, 1):
        options = appended(options, model, args, seed, region, rows, attends=attends)
    num_video, counts = 48, [4, 6]
    mask = torch.zeros(num_video + 10, num_video + 10, dtype=torch.bool)
    mask[:num_video, :num_video] = True
    first = num_video
    for region, count in zip(regions, counts, strict=True):
        own = slice(first, first + count)
        mask[region.index, own] = mask[own, own] = True
        if attends == "all":
            mask[own, region.index] = True
        first += count

    def dense(function, q, k, v, heads, transformer_options):
        if transformer_options["attention_kind"] != "self":
            return function(q, k, v, heads)
        logits = (q @ k.transpose(1, 2) / q.shape[2] ** 0.5).masked_fill(~mask, -math.inf)
        return logits.softmax(2) @ v

    plain = {}
    for seed in (1, 2):
        plain = appended(plain, model, args, seed, None, rows)
    expected = run(model, args, {**plain, "optimized_attention_override": dense})
    assert torch.allclose(run(model, args, options), expected, atol=1e-5)


def test_reads_and_their_weights():
    """Where a weight is below 1 a token goes that far, and the later read lies on top."""
    generator = torch.Generator().manual_seed(3)
    q, k, v, k1, v1, k2, v2 = (torch.randn(2, 8, 16, generator=generator) for _ in range(7))

    def attention(q, k, v):
        return (q @ k.transpose(1, 2) / 4).softmax(2) @ v

    first = TokenRegion(torch.tensor([0, 1, 2, 5]), torch.tensor([1.0, 0.25, 1.0, 0.5]), 8)
    second = TokenRegion(torch.tensor([2, 3]), torch.tensor([0.5, 1.0]), 8)
    ours = attend_with(attention, q, k, v, [Read(k1, v1, first), Read(k2, v2, second, weight=0.5)])
    base, one, two = attention(q, k, v), attention(q, k1, v1), attention(q, k2, v2)
    expected = base.clone()
    expected[:, 0], expected[:, 1] = one[:, 0], 0.75 * base[:, 1] + 0.25 * one[:, 1]
    expected[:, 5] = 0.5 * (base[:, 5] + one[:, 5])
    expected[:, 2] = 0.75 * one[:, 2] + 0.25 * two[:, 2]
    expected[:, 3] = 0.5 * (base[:, 3] + two[:, 3])
    assert torch.allclose(ours, expected, atol=1e-6)


def test_no_call_is_larger_than_the_tokens_that_it_is_for():
    """Regions cost what they hold: together, the queries of all calls are those of one whole frame."""
    queries = []

    def attention(q, k, v):
        queries.append(q.shape[1])
        return q

    q = torch.randn(1, 48, 8)
    reads = [Read(q, q, LEFT.tokens(GRID)), Read(q, q, RIGHT.tokens(GRID))]
    attend_with(attention, q, q, q, reads)
    attend_with(attention, q, q, q, [Read(q, q, box(0, 0, 0.25, 1).tokens(GRID))])
    assert queries == [24, 24, 36, 12]


def test_a_mask_becomes_shares_of_tokens():
    mask = torch.zeros(1, 8, 8)
    mask[0, 0:2, 0:3] = 1  # one token and a half
    region = Region(mask).tokens(GRID)
    assert region.index.tolist() == [0, 1, 16, 17, 32, 33]
    assert region.weight.tolist() == [1, 0.5] * 3
    assert box(0.25, 0.5, 0.5, 0.25).tokens((1, 4, 4)).index.tolist() == [9, 10]


def test_a_moving_mask_follows_the_videos_frames():
    """Latent frame 0 is the first frame, each other one four; a context window has its own."""
    mask = torch.zeros(9, 4, 4)
    mask[0, 0, 0] = 1
    mask[1:5, 0, 1] = 1
    mask[5:7, 0, 2] = 1
    shares = Region(mask).weights(GRID)
    assert [frame.flatten().tolist()[:3] for frame in shares] == [[1, 0, 0], [0, 1, 0], [0, 0, 0.5]]
    assert Region(mask).tokens((1, 4, 4), frames=[1]).index.tolist() == [1]
    assert torch.equal(Region(mask[:3]).weights((5, 4, 4))[4], mask[2]), "the last frame is held"


@pytest.mark.parametrize("mask", [torch.zeros(1, 4, 4), torch.full((1, 4, 4), torch.nan), torch.full((1, 4, 4), 2.0)])
def test_masks_that_cannot_be_meant(mask):
    with pytest.raises(SlotIDError, match="mask"):
        Region(mask)


def test_rounding_of_a_blurred_mask_is_none_of_its_shares():
    """A kernel's weights add up to 1 but for the last digit."""
    mask = torch.full((1, 4, 4), 1 + 1e-6)
    mask[:, :, 0] = -1e-6
    region = Region(mask).tokens((1, 4, 4))
    assert region.is_hard and len(region.index) == 12


@pytest.mark.parametrize("values", [(0.5, 0, 0, 1), (1.0, 0, 0.5, 1), (-0.1, 0, 0.5, 1)])
def test_boxes_outside_of_the_frame(values):
    with pytest.raises(SlotIDError, match="nothing in the frame"):
        box(*values)
