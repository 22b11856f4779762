"""Identity in our own Wan transformer: where it acts, where it must not, and what it equals."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from conftest import TINY_DEPTH, random_identity, tiny_wan
from typed import present

from slotid_core.systems.slot_id import GateSchedule
from slotid_core.systems.slot_id.injection import install_identity
from slotid_core.wan.hooks.text_rows import count_padding

MODEL_ROWS, TEXT_ROWS = 40, 12


def inputs(batch: int = 2, real_rows: int = TEXT_ROWS):
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(batch, 16, 3, 4, 4, generator=generator)
    context = torch.zeros(batch, MODEL_ROWS, 4096)
    context[:, :real_rows] = torch.randn(batch, real_rows, 4096, generator=generator)
    return x, torch.full((batch,), 600.0), context


def run(model, x, timestep, context, identities=(), strength=None, blocks: Sequence[int] = range(TINY_DEPTH), **kwargs):
    options = {}
    strength = torch.ones(x.shape[0]) if strength is None else torch.tensor(strength)
    for identity in identities:
        condition = identity.condition(timestep / 1000, strength)

        def padding():
            return model.text_embedding(torch.zeros(1, 1, 4096))

        options = install_identity(options, condition, blocks, count_padding(context), padding)
    with torch.no_grad():
        return model(x, timestep, context, transformer_options=options, **kwargs)


def test_strength_zero_is_bit_identical_and_strength_is_continuous():
    model, args, identity = tiny_wan(), inputs(), random_identity()
    base = run(model, *args)
    assert torch.equal(run(model, *args, [identity], [0.0, 0.0]), base)
    distance = [(run(model, *args, [identity], [s, s]) - base).abs().max() for s in (0.01, 0.1, 1.0)]
    assert 0 < distance[0] < distance[1] < distance[2]


def test_only_the_chosen_rows_change():
    model, args = tiny_wan(), inputs()
    base, mixed = run(model, *args), run(model, *args, [random_identity()], [1.0, 0.0])
    assert torch.equal(mixed[1], base[1])
    assert (mixed[0] - base[0]).abs().max() > 1e-3


def test_overwriting_padding_equals_the_papers_prefix():
    """The same tokens in front of the text, with as many padding rows fewer behind, give the same video."""
    model, (x, timestep, context) = tiny_wan(), inputs()
    identity = random_identity(film_blocks=0)
    tokens = identity.condition(timestep / 1000, torch.ones(2)).rows.tokens

    def prefix_block(args, extra):
        text = torch.cat([tokens, args["txt"][:, : -identity.num_tokens]], dim=1)
        return extra["original_block"]({**args, "txt": text})

    options = {"patches_replace": {"dit": {("double_block", i): prefix_block for i in range(TINY_DEPTH)}}}
    with torch.no_grad():
        expected = model(x, timestep, context, transformer_options=options)
    assert torch.allclose(run(model, x, timestep, context, [identity]), expected, atol=1e-5)


def test_film_is_scale_and_shift_after_the_last_blocks():
    model, (x, timestep, context) = tiny_wan(), inputs()
    identity = random_identity(gate=GateSchedule("constant", high=1.0))
    expected_film = identity.image_film[0]  # (F, 2, D): the gate is 1, so only the portrait speaks

    def film_block(index):
        def replace(args, extra):
            hidden = extra["original_block"](args)["img"]
            scale, shift = expected_film[index - identity.film_start]
            return {"img": hidden * (1 + scale) + shift}

        return replace

    from dataclasses import replace as with_changes

    without_tokens = with_changes(
        identity, image_tokens=identity.image_tokens[:, :0], video_tokens=identity.video_tokens[:, :0]
    )
    film_blocks = range(identity.film_start, TINY_DEPTH)
    options = {"patches_replace": {"dit": {("double_block", i): film_block(i) for i in film_blocks}}}
    with torch.no_grad():
        expected = model(x, timestep, context, transformer_options=options)
    assert torch.allclose(run(model, x, timestep, context, [without_tokens]), expected, atol=1e-5)


@pytest.mark.parametrize("real_rows", [MODEL_ROWS, MODEL_ROWS - 3])
def test_too_little_padding_appends_and_leaves_other_rows_alone(real_rows):
    model, args = tiny_wan(), inputs(real_rows=real_rows)
    base, mixed = run(model, *args), run(model, *args, [random_identity()], [0.0, 1.0])
    assert torch.allclose(mixed[0], base[0], atol=1e-6)
    assert (mixed[1] - base[1]).abs().max() > 1e-3
    x, timestep, context = args
    alone = run(model, x[1:], timestep[1:], context[1:], [random_identity()], [1.0])
    assert torch.allclose(mixed[1], alone[0], atol=1e-5)


def test_d6_a_block_that_is_left_out_gets_no_film():
    """As skip-layer guidance leaves blocks out: its replacement returns what came in."""
    model, (x, timestep, context) = tiny_wan(), inputs()
    options = {"patches_replace": {"dit": {("double_block", TINY_DEPTH - 1): lambda args, extra: args}}}
    conditions = [random_identity(seed).condition(timestep / 1000, torch.ones(2)) for seed in (1, 2)]

    def predict(blocks):
        changed = options
        for condition in conditions:
            changed = install_identity(changed, condition, blocks, count_padding(context))
        with torch.no_grad():
            return model(x, timestep, context, transformer_options=changed)

    assert torch.equal(predict(range(TINY_DEPTH)), predict(range(TINY_DEPTH - 1)))
    assert not torch.equal(predict(range(TINY_DEPTH)), predict(range(TINY_DEPTH - 2)))


@pytest.mark.parametrize("real_rows", [(6, 40), (6, 36), (30, 40), (38, 34)])
@pytest.mark.parametrize("strengths", [[(1.0, 0.0)], [(1.0, 0.5)], [(1.0, 0.0), (0.5, 1.0)]])
def test_d9_a_row_does_not_depend_on_the_others_of_its_batch(real_rows, strengths):
    """Prompts of different length in one batch: each row is what it is alone, however the batch was cut."""
    model, (x, timestep, context) = tiny_wan(), inputs(real_rows=MODEL_ROWS)
    for row, real in enumerate(real_rows):
        context[row, real:] = 0
    identities = [random_identity(seed) for seed in range(len(strengths))]
    together = run_each(model, x, timestep, context, identities, strengths)
    for row in (0, 1):
        part = slice(row, row + 1)
        own = [(identity, [s[row]]) for identity, s in zip(identities, strengths, strict=True) if s[row]]
        alone = run_each(model, x[part], timestep[part], context[part], *(zip(*own, strict=True) if own else ((), ())))
        assert torch.allclose(together[row], alone[0], atol=2e-6), (together[row] - alone[0]).abs().max()


def test_two_identities_take_different_rows():
    model, args = tiny_wan(), inputs()
    first, second = random_identity(seed=1, film_blocks=0), random_identity(seed=2, film_blocks=0)
    both = run(model, *args, [first, second])
    assert torch.allclose(both, run(model, *args, [second, first]), atol=1e-5)
    for one in (first, second):
        assert (both - run(model, *args, [one])).abs().max() > 1e-3


def test_a_second_identity_without_room_leaves_the_first_its_rows():
    """12 padding rows hold one identity of 8 tokens; the second is added, and each still does its own part."""
    model, args = tiny_wan(), inputs(real_rows=MODEL_ROWS - 12)
    first, second = random_identity(seed=1, film_blocks=0), random_identity(seed=2, film_blocks=0)
    both = run(model, *args, [first, second])
    roomy = (args[0], args[1], torch.cat([args[2], torch.zeros(2, 8, 4096)], dim=1))
    assert torch.allclose(both, run(model, *roomy, [first, second]), atol=1e-5)


@pytest.mark.parametrize("strengths", [([1.0, 0.0], [0.0, 1.0]), ([1.0, 1.0], [0.0, 0.5]), ([0.0, 0.0], [1.0, 0.0])])
def test_two_identities_without_padding_in_different_rows_of_a_batch(strengths):
    """Each row of the batch is what it is alone, with just the identities that it has."""
    model, (x, timestep, context) = tiny_wan(), inputs(real_rows=MODEL_ROWS)
    identities = random_identity(seed=1), random_identity(seed=2)
    together = run_each(model, x, timestep, context, identities, strengths)
    for row in (0, 1):
        own = [(identity, [s[row]]) for identity, s in zip(identities, strengths, strict=True) if s[row]]
        alone = (
            run_each(model, x[row : row + 1], timestep[:1], context[row : row + 1], *zip(*own, strict=True))
            if own
            else run(model, x[row : row + 1], timestep[:1], context[row : row + 1])
        )
        assert torch.allclose(together[row], alone[0], atol=1e-5)


def run_each(model, x, timestep, context, identities, strengths):
    """Like `run`, with strengths of their own for every identity."""
    options: dict = {}
    for identity, strength in zip(identities, strengths, strict=True):
        condition = identity.condition(timestep / 1000, torch.tensor(strength))
        padding = model.text_embedding(torch.zeros(1, 1, 4096))
        options = install_identity(
            options, condition, range(TINY_DEPTH), count_padding(context), lambda padding=padding: padding
        )
    with torch.no_grad():
        return model(x, timestep, context, transformer_options=options)


def test_image_tokens_of_i2v_stay_first():
    model, (x, timestep, context) = tiny_wan(in_dim=36, has_image_tokens=True), inputs()
    x = torch.cat([x, torch.randn(2, 20, 3, 4, 4)], dim=1)
    clip = torch.randn(2, 257, 1280)
    seen = []

    def spy(args, extra):
        seen.append(args["txt"])
        return extra["original_block"](args)

    options = {"patches_replace": {"dit": {("double_block", 0): spy}}}
    with torch.no_grad():
        model(x, timestep, context, clip, transformer_options=options)
    identity = random_identity()
    condition = identity.condition(timestep / 1000, torch.ones(2))
    with torch.no_grad():
        model(x, timestep, context, clip, transformer_options=install_identity(options, condition, [0], [28, 28]))
    plain, conditioned = seen
    rows = identity.num_tokens
    assert torch.equal(plain[:, :-rows], conditioned[:, :-rows])
    assert torch.allclose(conditioned[:, -rows:], condition.rows.tokens.expand(2, -1, -1))


def test_only_the_chosen_blocks_see_the_identity_and_nothing_stays():
    model, args, identity = tiny_wan(), inputs(), random_identity()
    base = run(model, *args)
    assert torch.equal(run(model, *args, [identity], blocks=[]), base)
    some, every = run(model, *args, [identity], blocks=[1]), run(model, *args, [identity])
    assert (some - base).abs().max() > 1e-4 and (every - some).abs().max() > 1e-4
    assert torch.equal(run(model, *args), base)


def test_gate_hands_over_from_portrait_to_clip():
    identity = random_identity(gate=GateSchedule("linear"))
    noise_level = torch.tensor([1.0, 0.25, 0.0])
    condition = identity.condition(noise_level, torch.ones(3))
    images, slots = condition.rows.tokens[:, :2], condition.rows.tokens[:, 2:]
    for row, w in enumerate([1.0, 0.25, 0.0]):
        assert torch.allclose(images[row], w * identity.image_tokens[0])
        assert torch.allclose(slots[row], (1 - w) * identity.video_tokens[0])
        film = (1 - w) * identity.video_film[0] + w * identity.image_film[0]
        assert torch.allclose(condition.film[row], film, atol=1e-6)


def test_tokens_may_be_wider_than_film():
    """As under autocast, where a norm gives float32 and linear layers bfloat16."""
    identity = random_identity(gate=GateSchedule("linear"))
    mixed = replace(identity, video_film=identity.video_film.bfloat16(), image_film=identity.image_film.bfloat16())
    noise_level, strength = torch.tensor([0.25]), torch.ones(1)
    ours, expected = (one.condition(noise_level, strength) for one in (mixed, identity))
    assert torch.equal(ours.rows.tokens, expected.rows.tokens)
    assert torch.allclose(ours.film.float(), expected.film, atol=0.02)


def test_lerp_to_padding_keeps_token_values_and_gates_the_amount():
    identity = random_identity(gate=GateSchedule("linear"), gate_mode="lerp_to_padding")
    condition = identity.condition(torch.tensor([0.25]), torch.tensor([0.5]))
    assert torch.equal(condition.rows.tokens[:, :2], identity.image_tokens)
    assert torch.allclose(condition.rows.amount[0], torch.tensor([0.125] * 2 + [0.375] * 6))


def test_dropped_tokens_are_padding():
    model, args, identity = tiny_wan(), inputs(), random_identity(film_blocks=0)
    condition = identity.condition(args[1] / 1000, torch.ones(2), token_mask=torch.zeros(2, identity.num_tokens))
    options = install_identity({}, condition, range(TINY_DEPTH), count_padding(args[2]))
    with torch.no_grad():
        assert torch.equal(model(*args, transformer_options=options), run(model, *args))


def test_gradients_reach_tokens_and_film():
    model, args, identity = tiny_wan(), inputs(), random_identity()
    tensors = [identity.image_tokens, identity.video_tokens, identity.image_film, identity.video_film]
    for tensor in tensors:
        tensor.requires_grad_()
    condition = identity.condition(args[1] / 1000, torch.ones(2))
    model(*args, transformer_options=install_identity({}, condition, range(TINY_DEPTH), [28, 28])).sum().backward()
    plain = [present(tensor.grad).clone() for tensor in tensors]
    assert all(gradient.abs().max() > 0 for gradient in plain)
    model.activation_checkpointing = True
    for tensor in tensors:
        tensor.grad = None
    condition = identity.condition(args[1] / 1000, torch.ones(2))
    model(*args, transformer_options=install_identity({}, condition, range(TINY_DEPTH), [28, 28])).sum().backward()
    for tensor, expected in zip(tensors, plain, strict=True):
        assert torch.allclose(present(tensor.grad), expected, atol=1e-5)


@pytest.mark.parametrize("with_identity", [False, True])
@pytest.mark.parametrize("blocks", [range(TINY_DEPTH), [1]], ids=["all", "one"])
def test_one_weighted_padding_row_equals_512_rows(with_identity, blocks):
    """Training's short context, prompts of different length and rows without identity included, is exact."""
    model, (x, timestep, _) = tiny_wan(), inputs()
    full = torch.zeros(2, 512, 4096)
    full[0, :9], full[1, :4] = torch.randn(9, 4096), torch.randn(4, 4096)
    short = full[:, :10]
    options = {False: {}, True: {}}
    if with_identity:
        for seed, strength in ((1, [1.0, 0.0]), (2, [0.5, 1.0])):
            condition = random_identity(seed).condition(timestep / 1000, torch.tensor(strength))
            options[False] = install_identity(options[False], condition, blocks, num_padding=[503, 503])
            options[True] = install_identity(options[True], condition, blocks, padding_row=9)
    with torch.no_grad():
        expected = model(x, timestep, full, transformer_options=options[False])
        actual = model(x, timestep, short, transformer_options=options[True], padding_row=9)
    assert torch.allclose(actual, expected, atol=1e-5)
