"""The ways into a Wan transformer, on our own: chaining, rows apart, branches, appended tokens, run cache, latents."""

import math

import pytest
import torch
from conftest import TINY_WIDTH, tiny_wan
from hypothesis import given, settings
from hypothesis import strategies as st
from proof import examples

from slotid_core.wan.hooks.attention import AttentionBranch, WeightedBranch, add_branches
from slotid_core.wan.hooks.blocks import wrap_blocks
from slotid_core.wan.hooks.cache import RunCache
from slotid_core.wan.hooks.latents import clean_latents, with_changed_clean
from slotid_core.wan.hooks.rows import SHARED_KEY, rows_running, run_rows_apart
from slotid_core.wan.hooks.tokens import AppendedTokens, KeptKeys, TokenLoRA, append_tokens, joined_modulation
from slotid_core.wan.model import SELF_ATTENTION, sinusoidal_embedding
from slotid_core.wan.rope import rotary_matrices
from slotid_core.wan.sampling import euler

GRID = (3, 2, 2)  # tokens of the video below


def inputs(batch: int = 2):
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(batch, 16, 3, 4, 4, generator=generator)
    return x, torch.full((batch,), 600.0), torch.randn(batch, 12, 4096, generator=generator)


def run(model, args, options=None):
    with torch.no_grad():
        return model(*args, transformer_options=options or {})


def test_wrappers_chain_outside_and_inside():
    order = []

    def noting(name):
        def wrapper(args, run):
            order.append(name)
            return run(args)

        return wrapper

    options = wrap_blocks({}, {0: noting("first")})
    options = wrap_blocks(options, {0: noting("outside"), 1: noting("other block")})
    options = wrap_blocks(options, {0: noting("inside")}, inside=True)
    model, args = tiny_wan(), inputs()
    assert torch.equal(run(model, args, options), run(model, args))
    assert order == ["outside", "first", "inside", "other block"]


def test_a_wrapper_inside_runs_as_often_as_what_is_around_it():
    sizes = []

    def inside(args, run):
        sizes.append(len(args["img"]))
        assert torch.equal(rows_running(args["transformer_options"], torch.arange(2)), torch.tensor([len(sizes) - 1]))
        return run(args)

    def apart(args, run):
        return run_rows_apart(run, args, args["txt"], torch.tensor([True, False]))

    options = wrap_blocks(wrap_blocks({}, {0: inside}, inside=True), {0: apart})
    model, args = tiny_wan(), inputs()
    assert torch.allclose(run(model, args, options), run(model, args), atol=1e-5)
    assert sizes == [1, 1]
    assert SHARED_KEY not in options


def appended(count_grid=(1, 2, 2), seed=1, batch=1, offset=(3, 2, 2), **kwargs) -> AppendedTokens:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(batch, math.prod(count_grid), TINY_WIDTH, generator=generator)
    return AppendedTokens(tokens, rotary_matrices(count_grid, 128, offset=offset), **kwargs)


def longer_video(model, args, tokens: AppendedTokens, modulation=None, mask=None):
    """The same pass written out by hand: embed, append, run every block on the longer sequence, strip, head.

    `mask` (B, N + M, N + M) is True where a query may read a key in self-attention.
    """

    def masked(function, q, k, v, heads, transformer_options):
        if transformer_options["attention_kind"] != "self":
            return function(q, k, v, heads)
        assert mask is not None  # it is installed with one
        logits = (q @ k.transpose(1, 2) / q.shape[2] ** 0.5).masked_fill(~mask, -math.inf)  # one head
        return logits.softmax(2) @ v

    options = {} if mask is None else {"optimized_attention_override": masked}
    x, timestep, context = args
    embedded = model.patch_embedding(x).flatten(2).transpose(1, 2)
    hidden = torch.cat([embedded, tokens.tokens.expand(len(x), -1, -1)], dim=1)
    rotary = torch.cat([rotary_matrices(GRID, 128), tokens.rotary], dim=1)
    time = model.time_embedding(sinusoidal_embedding(timestep, 256))
    vec = model.time_projection(time).unflatten(2, (6, TINY_WIDTH))
    text = model.text_embedding(context)
    if modulation is not None:
        each = torch.cat([vec.expand(-1, 12, -1, -1), modulation.expand(len(x), tokens.tokens.shape[1], -1, -1)], dim=1)
    else:
        each = vec
    for block in model.blocks:
        hidden = block(hidden, text, each, rotary, 0, None, options)
    return model._unpatchify(model.head(hidden[:, :12], time), GRID)


@pytest.mark.parametrize("count_grid", [(1, 2, 2), (1, 3, 3), (2, 2, 2), (1, 1, 1)])
@pytest.mark.parametrize("own_modulation", [False, True])
def test_appended_tokens_are_a_longer_sequence(count_grid, own_modulation):
    model, args = tiny_wan(), inputs()
    modulation = 0.3 * torch.randn(1, 1, 6, TINY_WIDTH) if own_modulation else None
    tokens = appended(count_grid, modulation=modulation)
    ours = run(model, args, append_tokens({}, model, tokens))
    with torch.no_grad():
        expected = longer_video(model, args, tokens, modulation)
    assert ours.shape == args[0].shape
    assert torch.allclose(ours, expected, atol=1e-5)
    assert (ours - run(model, args)).abs().max() > 1e-4, "the video reads them"


def test_appended_tokens_leave_nothing_behind_and_each_row_has_its_own():
    model, args = tiny_wan(), inputs()
    base = run(model, args)
    tokens = appended(batch=2)
    both = run(model, args, append_tokens({}, model, tokens))
    assert torch.equal(run(model, args), base)
    for row in range(2):
        alone = AppendedTokens(tokens.tokens[row : row + 1], tokens.rotary)
        one = run(model, tuple(arg[row : row + 1] for arg in args), append_tokens({}, model, alone))
        assert torch.allclose(one[0], both[row], atol=1e-5)


def mask_of(rows, attends, count=4):
    """Who reads whom, token by token, for the 12 tokens of the video and `count` behind them."""
    mask = torch.zeros(len(rows), 12 + count, 12 + count, dtype=torch.bool)
    for row, has_tokens in enumerate(rows):
        for query in range(12 + count):
            for key in range(12 + count):
                if query < 12:
                    mask[row, query, key] = key < 12 or has_tokens
                else:
                    mask[row, query, key] = key >= 12 or attends == "all"
    return mask


@pytest.mark.parametrize("attends", ["all", "itself"])
@pytest.mark.parametrize("rows", [(True, True), (True, False), (False, True)])
def test_who_attends_to_appended_tokens(attends, rows):
    model, args = tiny_wan(), inputs()
    modulation = 0.3 * torch.randn(1, 1, 6, TINY_WIDTH)
    tokens = appended(modulation=modulation, attends=attends, rows=torch.tensor(rows))
    ours = run(model, args, append_tokens({}, model, tokens))
    with torch.no_grad():
        expected = longer_video(model, args, tokens, modulation, mask_of(rows, attends))
    assert torch.allclose(ours, expected, atol=1e-5)
    base = run(model, args)
    for row, has_tokens in enumerate(rows):
        assert torch.allclose(ours[row], base[row], atol=1e-5) != has_tokens


def test_tokens_for_no_row_change_nothing():
    model, args = tiny_wan(), inputs()
    tokens = appended(rows=torch.zeros(2))
    assert append_tokens({"a": 1}, model, tokens) == {"a": 1}
    assert torch.equal(run(model, args, append_tokens({}, model, tokens)), run(model, args))


def test_the_weight_of_appended_tokens_goes_from_nothing_to_all():
    model, args = tiny_wan(), inputs()
    base, whole = run(model, args), run(model, args, append_tokens({}, model, appended()))
    assert torch.equal(run(model, args, append_tokens({}, model, appended(weight=0.0))), base)
    distances = [
        (run(model, args, append_tokens({}, model, appended(weight=weight))) - whole).abs().max()
        for weight in (0.01, 0.5, 0.999)
    ]
    assert distances[0] > distances[1] > distances[2] and distances[2] < 1e-3


@pytest.mark.parametrize("rows", [None, (True, False)])
def test_kept_keys_give_what_tokens_in_the_pass_give(rows):
    """The first pass of a run computes keys and values; later ones, at any noise level, read them."""
    model, (x, _, context) = tiny_wan(), inputs()
    rows = None if rows is None else torch.tensor(rows)
    modulation = 0.3 * torch.randn(1, 1, 6, TINY_WIDTH)
    tokens = appended(modulation=modulation, attends="itself", reads_text=False, rows=rows)
    kept, lengths = KeptKeys(RunCache(), "tokens"), []

    def measure(args, run):
        lengths.append(args["img"].shape[1])
        return run(args)

    kept.cache.start("run")
    for level in (900.0, 500.0, 100.0):
        args = (x, torch.full((2,), level), context.flip(1))
        options = append_tokens({}, model, tokens, kept)
        ours = run(model, args, wrap_blocks(options, {1: measure}, inside=True))
        assert torch.allclose(ours, run(model, args, append_tokens({}, model, tokens)), atol=1e-5)
    assert lengths == [16, 12, 12]
    assert kept.cache.num_bytes == len(model.blocks) * 2 * 4 * TINY_WIDTH * 4
    kept.cache.start("another run")
    options = append_tokens({}, model, tokens, kept)
    run(model, args, wrap_blocks(options, {1: measure}, inside=True))
    assert lengths[-1] == 16


@pytest.mark.parametrize("change", [{"reads_text": True}, {"attends": "all"}, {"modulation": None}])
def test_keys_that_change_are_not_kept(change):
    constant = {"modulation": torch.zeros(1, 1, 6, TINY_WIDTH), "attends": "itself", "reads_text": False}
    with pytest.raises(ValueError, match="constant"):
        append_tokens({}, tiny_wan(), appended(**(constant | change)), KeptKeys(RunCache(), ""))


def test_appended_tokens_that_do_not_read_the_text_are_the_same_under_any_prompt():
    model, (x, timestep, context) = tiny_wan(), inputs()
    seen = []

    def note(args, run):
        hidden = run(args)
        seen.append(hidden[:, 12:])
        return hidden

    for reads_text in (True, False):
        tokens = appended(modulation=torch.zeros(1, 1, 6, TINY_WIDTH), attends="itself", reads_text=reads_text)
        for text in (context, 2 * context):
            run(model, (x, timestep, text), wrap_blocks(append_tokens({}, model, tokens), {1: note}, inside=True))
    assert not torch.allclose(seen[0], seen[1], atol=1e-4)
    assert torch.equal(seen[2], seen[3])
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("attends", ["all", "itself"])
def test_branches_and_appended_tokens_in_either_order(attends):
    model, args = tiny_wan(), inputs()
    tokens = appended(modulation=torch.zeros(1, 1, 6, TINY_WIDTH), attends=attends, rows=torch.tensor([True, False]))
    key, value = torch.randn(2, 1, 3, TINY_WIDTH, generator=torch.Generator().manual_seed(8))
    branch = {SELF_ATTENTION: WeightedBranch(AttentionBranch(key, value, False), 0.7)}
    branches, rows = dict.fromkeys(range(len(model.blocks)), branch), torch.zeros(2, dtype=torch.long)
    first = append_tokens(add_branches({}, model, branches, rows), model, tokens)
    last = add_branches(append_tokens({}, model, tokens), model, branches, rows)
    both = run(model, args, first)
    assert torch.allclose(both, run(model, args, last), atol=1e-5)
    for one in (append_tokens({}, model, tokens), add_branches({}, model, branches, rows)):
        assert (both[0] - run(model, args, one)[0]).abs().max() > 1e-3


def test_rows_that_run_apart_may_append_tokens():
    model, args = tiny_wan(), inputs()
    tokens = appended(batch=2, rows=torch.tensor([True, False]))

    def apart(args, run):
        return run_rows_apart(run, args, args["txt"], torch.tensor([True, False]))

    every = dict.fromkeys(range(len(model.blocks)), apart)
    expected = run(model, args, append_tokens({}, model, tokens))
    for options in (
        append_tokens(wrap_blocks({}, every), model, tokens),
        wrap_blocks(append_tokens({}, model, tokens), every),
    ):
        assert torch.allclose(run(model, args, options), expected, atol=1e-5)


def test_lora_of_appended_tokens_acts_on_them_alone_and_is_gone_after_an_error():
    model, args = tiny_wan(), inputs()
    lora = TokenLoRA(torch.randn(2, TINY_WIDTH) / 10, torch.randn(TINY_WIDTH, 2), 0.5)
    changes = {0: {"self_attn.q": lora, "self_attn.v": lora}}
    plain = run(model, args, append_tokens({}, model, appended()))
    changed = run(model, args, append_tokens({}, model, appended(lora=changes)))
    assert (plain - changed).abs().max() > 1e-4
    layer, seen = model.get_submodule("blocks.0.self_attn.q"), []
    # A block sees the layer through its module, so what leaves the layer is compared with the layer's own weights.
    note = layer.register_forward_hook(lambda module, given, out: seen.append((given[0], out)), always_call=False)
    own = layer.forward
    run(model, args, append_tokens({}, model, appended(lora=changes)))
    note.remove()
    given, _ = seen[0]
    first = {}

    def keep(args, run):
        with torch.no_grad():
            first["q"] = layer(given)
        return run(args)

    run(model, args, wrap_blocks(append_tokens({}, model, appended(lora=changes)), {0: keep}, inside=True))
    delta = first["q"] - own(given)
    assert not delta[:, :-4].any(), "the video's tokens are as before"
    expected = 0.5 * (given[:, -4:] @ lora.down.T @ lora.up.T)
    assert torch.allclose(delta[:, -4:], expected, atol=1e-5)

    def fail(args, run):
        run(args)
        raise RuntimeError("stop")

    options = append_tokens(wrap_blocks({}, {0: fail}), model, appended(lora=changes))
    with pytest.raises(RuntimeError, match="stop"):
        run(model, args, options)
    assert not layer._forward_hooks


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 20))
def test_modulation_is_that_of_each_token(frames, per_frame, count):
    """Repeated over equal parts, it is what each token would have by itself."""
    time, own = torch.randn(2, frames, 6, 3), torch.randn(1, 1, 6, 3)
    joined = joined_modulation(time, own, {}, frames * per_frame, count)
    assert (frames * per_frame + count) % joined.shape[1] == 0
    each = joined.repeat_interleave((frames * per_frame + count) // joined.shape[1], dim=1)
    expected = torch.cat([time.repeat_interleave(per_frame, dim=1), own.expand(2, count, -1, -1)], dim=1)
    assert torch.equal(each, expected)


def test_a_model_with_a_noise_level_a_frame_needs_a_modulation():
    with pytest.raises(ValueError, match="modulation"):
        joined_modulation(torch.randn(1, 3, 6, 4), None, {}, 12, 4)


def test_a_run_cache_lasts_for_a_run():
    cache, made = RunCache(), []

    def value(number):
        return lambda: made.append(number) or (torch.full((2,), float(number)),)

    cache.start("run 1")
    assert cache.get((0, "row"), value(1))[0][0] == 1 and cache.get((0, "row"), value(2))[0][0] == 1
    assert cache.get((1, "row"), value(3))[0][0] == 3 and cache.num_bytes == 16
    cache.start("run 1")
    assert cache.get((0, "row"), value(4))[0][0] == 1
    cache.start("run 2")
    assert cache.get((0, "row"), value(5))[0][0] == 5 and made == [1, 3, 5]
    cache.clear()
    assert cache.num_bytes == 0


def test_changed_clean_latents_are_where_sampling_ends():
    target = torch.randn(1, 4, 2, 3, 3)
    noise = torch.randn(1, 4, 2, 3, 3)

    def velocity(x, level):  # leads to zero
        return x / level.clamp(min=1e-6).view(-1, 1, 1, 1, 1)

    ended = euler(with_changed_clean(velocity, lambda clean, level: target), noise, 8, 3.0)
    assert torch.allclose(ended, target, atol=1e-5)
    unchanged = euler(with_changed_clean(velocity, lambda clean, level: clean), noise, 8, 3.0)
    assert torch.allclose(unchanged, euler(velocity, noise, 8, 3.0), atol=1e-5)
    level = torch.tensor([0.3])
    noisy = torch.lerp(target, noise, 0.3)
    assert torch.allclose(clean_latents(noisy, noise - target, level), target, atol=1e-6)
