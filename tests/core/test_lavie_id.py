"""LaVieID's router against its equations written out a second time, and what a forward pass installs."""

import math
from dataclasses import replace

import pytest
import torch
from conftest import TINY_DEPTH, TINY_WIDTH, tiny_wan
from hypothesis import given, settings
from hypothesis import strategies as st

from slotid_core.errors import SlotIDError
from slotid_core.systems.lavie_id import (
    AdapterConfig,
    EncoderConfig,
    LocalRouter,
    Person,
    RouterCondition,
    RouterConfig,
    VisionConfig,
    load_adapter,
    save_adapter,
)
from slotid_core.systems.lavie_id.inference import LoadedAdapter, People, predict_velocity, predictor
from slotid_core.systems.lavie_id.random_checkpoints import ROUTER, random_adapter

PARTS, TOKENS, TOKEN_WIDTH, WIDTH = 6, 4, 10, 12
ALL = torch.ones(1, PARTS)


def router(seed=0, **changes) -> LocalRouter:
    torch.manual_seed(seed)
    config = RouterConfig(**{"inner_width": 7, "heads": 2, "head_width": 5, **changes})
    made = LocalRouter(config, PARTS, TOKENS, TOKEN_WIDTH, WIDTH).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return made.requires_grad_(False)


def layer_norm(rows: list[list[float]], norm) -> list[list[float]]:
    out = []
    for row in rows:
        mean = sum(row) / len(row)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in row) / len(row) + norm.eps)
        scaled = [(value - mean) / deviation for value in row]
        out.append([a * w + b for a, w, b in zip(scaled, norm.weight.tolist(), norm.bias.tolist(), strict=True)])
    return out


def product(a, b):
    columns = list(zip(*b, strict=True))
    return [[sum(x * y for x, y in zip(row, column, strict=True)) for column in columns] for row in a]


def transposed(a):
    return [list(column) for column in zip(*a, strict=True)]


def softmax(values):
    top = max(values)
    weights = [math.exp(value - top) for value in values]
    return [weight / sum(weights) for weight in weights]


def phi(made: LocalRouter, tokens, z):
    """φ(l_m, z): cross-attention of several heads, with its own norms, numbers one by one."""
    attention, inner = made.attention, made.config.heads * made.config.head_width
    q = product(layer_norm(z, attention.norm2), transposed(attention.to_q.weight.tolist()))
    kv = product(layer_norm(tokens, attention.norm1), transposed(attention.to_kv.weight.tolist()))
    k, v = [row[:inner] for row in kv], [row[inner:] for row in kv]
    joined = [[] for _ in z]
    for head in range(made.config.heads):
        part = slice(head * made.config.head_width, (head + 1) * made.config.head_width)
        scores = product([row[part] for row in q], transposed([row[part] for row in k]))
        shares = [softmax([score / math.sqrt(made.config.head_width) for score in row]) for row in scores]
        for row, mixed in zip(joined, product(shares, [row[part] for row in v]), strict=True):
            row += mixed
    return product(joined, transposed(attention.to_out.weight.tolist()))


def weights_by_hand(made: LocalRouter, tokens, z, shown):
    """Equation 2, component after component: a row of weights for each token of z."""
    z_in = product(layer_norm(z, made.norm_z), transposed(made.to_z.weight.tolist()))  # N x D"
    logits = []
    for m in shown:
        correlations = product(
            product(layer_norm(tokens[m], made.norm_l), transposed(made.to_l.weight.tolist())), transposed(z_in)
        )  # L x N
        logits.append(product([made.gather[m].tolist()], correlations)[0])
    if made.null_key is not None:
        logits.append(product([made.null_key.tolist()], transposed(z_in))[0])
    return [softmax(column) for column in transposed(logits)]


@pytest.mark.parametrize("changes", [{}, {"null_component": True}, {"routing": "uniform"}])
@pytest.mark.parametrize("shown", [range(PARTS), (0, 2, 5), (4,)])
def test_the_router_is_equations_2_and_3(changes, shown):
    made, alpha, count = router(**changes), 0.7, 9
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(1, count, WIDTH, dtype=torch.float64, generator=generator)
    tokens = torch.randn(1, PARTS, TOKENS, TOKEN_WIDTH, dtype=torch.float64, generator=generator)
    mask = torch.zeros(1, PARTS)
    mask[0, list(shown)] = 1
    change, logits = made(z, made.routes(tokens, mask))
    found = (z + alpha * change)[0]

    z_list, l_list = z[0].tolist(), tokens[0].tolist()
    if changes.get("routing") == "uniform":
        weights = [[1 / len(shown)] * len(shown) for _ in range(count)]
    else:
        weights = weights_by_hand(made, l_list, z_list, shown)
    expected = [list(row) for row in z_list]
    for place, m in enumerate(shown):
        for row, refined, weight in zip(expected, phi(made, l_list[m], z_list), weights, strict=True):
            for i, value in enumerate(refined):
                row[i] += alpha * weight[place] * value
    assert (found - torch.tensor(expected, dtype=torch.float64)).abs().max() < 1e-8
    used = [*shown, *([PARTS] if made.config.null_component else [])]
    by_hand = torch.tensor(weights, dtype=torch.float64)
    assert (logits.softmax(2)[0][:, used] - by_hand).abs().max() < 1e-8


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 99), count=st.integers(1, 20), shown=st.lists(st.booleans(), min_size=6, max_size=6),
    null=st.booleans(),
)  # fmt: skip
def test_weights_are_a_share_of_one_and_hidden_components_are_never_read(seed, count, shown, null):
    shown[seed % PARTS] = True
    made, generator = router(seed, null_component=null), torch.Generator().manual_seed(seed)
    z = torch.randn(2, count, WIDTH, dtype=torch.float64, generator=generator)
    tokens = torch.randn(2, PARTS, TOKENS, TOKEN_WIDTH, dtype=torch.float64, generator=generator)
    mask = torch.tensor([shown, shown]).float()
    change, logits = made(z, made.routes(tokens, mask))
    weights = logits.softmax(2)
    assert torch.allclose(weights.sum(2), torch.ones(2, count, dtype=torch.float64))
    assert (weights[:, :, :PARTS][:, :, ~mask[0].bool()] == 0).all()
    other = torch.where(mask[..., None, None] > 0, tokens, torch.randn_like(tokens))
    assert torch.equal(made(z, made.routes(other, mask))[0], change)


def test_a_fresh_router_changes_nothing_and_starts_undecided():
    torch.manual_seed(0)
    made = LocalRouter(RouterConfig(inner_width=256, heads=2, head_width=8), PARTS, 32, 128, 192)
    z, tokens = torch.randn(1, 50, 192), torch.randn(1, PARTS, 32, 128)
    change, logits = made(z, made.routes(tokens, ALL))
    assert not change.any()
    assert 0.1 < logits.std() < 3


def inputs(batch=2, frames=3):
    generator = torch.Generator().manual_seed(3)
    noisy = torch.randn(batch, 16, frames, 4, 6, generator=generator)
    return noisy, torch.linspace(0.9, 0.4, batch), torch.randn(batch, 9, 4096, generator=generator)


def people(adapter, count=1, seed=0, shown=None):
    encoder = adapter.config.encoder
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(count, PARTS, encoder.num_tokens, encoder.token_width, generator=generator)
    return People(tokens, torch.ones(count, PARTS, dtype=torch.bool) if shown is None else shown)


def condition(adapter, who, **settings):
    return RouterCondition(adapter.router, adapter.router.routes(who.tokens, who.shown), **settings)


@torch.no_grad()
def predict(model, made, args=None):
    noisy, level, context = args or inputs()
    return predict_velocity(model, noisy, level, context, made)


@pytest.fixture(scope="module")
def model():
    return tiny_wan()


@pytest.fixture(scope="module")
def adapter():
    return random_adapter(TINY_WIDTH, TINY_DEPTH)


@pytest.mark.parametrize("place", ["before", "after"])
def test_at_scale_or_alpha_zero_and_for_nobody_the_model_is_bit_identical(model, place):
    base = predict(model, None)
    adapter = random_adapter(TINY_WIDTH, TINY_DEPTH, replace(ROUTER, place=place))
    off = random_adapter(TINY_WIDTH, TINY_DEPTH, replace(ROUTER, place=place, alpha=0.0))
    who = people(adapter)
    for made in (condition(adapter, who, scale=0.0), condition(adapter, who, rows=torch.zeros(2)), condition(off, who)):
        assert torch.equal(predict(model, made), base)
    assert (predict(model, condition(adapter, who)) - base).abs().max() > 1e-3
    nobody = predictor(model, adapter, people(adapter, 2))
    with torch.no_grad():
        assert torch.equal(nobody(*inputs(), None), base)


@pytest.mark.parametrize("place", ["before", "after"])
def test_rows_with_and_without_a_person_are_as_if_alone(model, place):
    adapter, base = random_adapter(TINY_WIDTH, TINY_DEPTH, replace(ROUTER, place=place)), predict(model, None)
    two = people(adapter, 2)
    mixed = predict(model, condition(adapter, two, rows=torch.tensor([1.0, 0.0])))
    assert torch.equal(mixed[1], base[1])
    alone = predict(model, condition(adapter, People(two.tokens[:1], two.shown[:1])), tuple(v[:1] for v in inputs()))
    assert torch.allclose(mixed[0], alone[0], atol=1e-5)
    second = predict(model, condition(adapter, two, rows=torch.tensor([0.0, 1.0])))
    of_second = condition(adapter, People(two.tokens[1:], two.shown[1:]))
    assert torch.allclose(second[1], predict(model, of_second, tuple(v[1:] for v in inputs()))[0], atol=1e-5)


def test_only_the_videos_tokens_are_routed(model, adapter):
    """Tokens that another system appends keep what they were, whichever of the two is installed first."""
    from slotid_core.systems.st_drc import LayoutConfig, ReferenceCondition, install_reference

    noisy, level, context = inputs()
    reference = ReferenceCondition(torch.randn(1, 16, 1, 4, 6), LayoutConfig())
    made, seen = condition(adapter, people(adapter)), []

    def spy(args, extra):
        seen.append(args["img"])
        return extra["original_block"](args)

    from slotid_core.systems.lavie_id import install_router

    start = {"patches_replace": {"dit": {("double_block", 0): spy}}}
    plain = install_reference(start, model, reference, (3, 2, 3), noisy)
    first = install_reference(install_router(start, model, made, 18), model, reference, (3, 2, 3), noisy)
    last = install_router(plain, model, made, 18)
    with torch.no_grad():
        results = [model(noisy, 1000 * level, context, transformer_options=o) for o in (plain, first, last)]
    assert all(tokens.shape[1] == 24 for tokens in seen)
    assert torch.equal(seen[1], seen[2]) and torch.allclose(results[1], results[2], atol=1e-6)
    assert torch.equal(seen[1][:, 18:], seen[0][:, 18:]) and not torch.equal(seen[1][:, :18], seen[0][:, :18])


def test_the_component_that_a_token_is_routed_to_is_the_one_that_changes_it(model, adapter):
    """With one component shown, its tokens are all that counts; the others may be anything."""
    shown = torch.zeros(1, PARTS, dtype=torch.bool)
    shown[0, 3] = True
    one, other = people(adapter, 1, 0, shown), people(adapter, 1, 1, shown)
    swapped = People(other.tokens.clone(), shown)
    swapped.tokens[:, 3] = one.tokens[:, 3]
    assert torch.equal(predict(model, condition(adapter, one)), predict(model, condition(adapter, swapped)))
    assert not torch.equal(predict(model, condition(adapter, one)), predict(model, condition(adapter, other)))


def test_an_adapters_file_gives_what_was_saved(model, adapter, tmp_path):
    path = tmp_path / "adapter.safetensors"
    save_adapter(path, adapter.config, dict(adapter.state_dict()))
    read = load_adapter(path)
    assert read.config == adapter.config and len(read.fingerprint) == 16
    assert all(torch.equal(tensor, adapter.state_dict()[name]) for name, tensor in read.state_dict().items())
    loaded = LoadedAdapter(read)
    loaded.prepare_model(model)
    pictures, places = torch.rand(2, PARTS, 3, 32, 32), torch.rand(2, PARTS, 4)
    places[..., 0] = 1.0
    places[1, :, 0] = 0.0
    who = loaded.person({"component_pictures": pictures, "component_places": places})
    with torch.no_grad():
        somebody = loaded.predictor(model, who)(*inputs(), torch.ones(2))
    base = predict(model, None)
    assert torch.equal(somebody[1], base[1]), "nobody has no component"
    assert (somebody[0] - base[0]).abs().max() > 1e-3
    again = loaded.person({"component_pictures": pictures.flip(0), "component_places": places.flip(0)})
    assert torch.allclose(again.tokens.flip(0), who.tokens, atol=1e-5)


def test_what_the_encoder_needs_and_lacks_is_said(adapter):
    pictures, places = torch.rand(1, PARTS, 3, 32, 32), torch.ones(1, PARTS, 4)
    with pytest.raises(SlotIDError, match=r"components of shape \(6, 3, 32, 32\)"):
        adapter.tokens(pictures[..., :16], places)
    embedded = random_adapter(TINY_WIDTH, TINY_DEPTH, encoder=replace(adapter.config.encoder, face_width=8))
    with pytest.raises(SlotIDError, match="face embedding of 8 numbers; got none"):
        embedded.tokens(pictures, places)
    assert not torch.equal(
        embedded.tokens(pictures, places, torch.ones(1, 8)), embedded.tokens(pictures, places, torch.zeros(1, 8))
    )
    clip = VisionConfig(side=32, width=32, pooled_width=16, levels=(0, 1), patch=8, heads=2)
    with pytest.raises(SlotIDError, match="clip_vision_h"):
        random_adapter(TINY_WIDTH, TINY_DEPTH, vision=clip).tokens(pictures, places)
    with pytest.raises(SlotIDError, match="width 128 with 4 blocks"):
        adapter.check_model(256, 4)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RouterConfig(routing="uniform", null_component=True), "null component"),
        (lambda: RouterConfig(alpha=float("nan")), "alpha"),
        (lambda: VisionConfig(levels=()), "levels"),
        (lambda: VisionConfig(levels=(4, 2)), "levels"),
        (lambda: VisionConfig("own", side=30, patch=8), "multiple of the patch"),
        (lambda: AdapterConfig(128, 4, encoder=EncoderConfig(depth=9)), "multiple of the 5 levels"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, said):
    with pytest.raises(SlotIDError, match=said):
        make()


def test_a_persons_file(tmp_path):
    person = Person(torch.randn(1, PARTS, 4, 8), torch.tensor([[1, 1, 0, 1, 1, 1.0]]), "abc", {"hidden": ["mouth"]})
    person.save(tmp_path / "person.safetensors")
    read = Person.load(tmp_path / "person.safetensors")
    assert torch.equal(read.tokens, person.tokens) and torch.equal(read.shown, person.shown)
    assert (read.adapter_fingerprint, read.source) == ("abc", person.source)
    with pytest.raises(SlotIDError, match="No component"):
        Person(person.tokens, torch.zeros(1, PARTS))
    for tokens, shown in (
        (person.tokens[0], person.shown),
        (person.tokens.long(), person.shown),
        (person.tokens, ALL[0]),
    ):
        with pytest.raises(SlotIDError, match="tokens of shape"):
            Person(tokens, shown)
    with pytest.raises(SlotIDError, match="NaN"):
        Person(person.tokens * float("nan"), person.shown).save(tmp_path / "none.safetensors")
