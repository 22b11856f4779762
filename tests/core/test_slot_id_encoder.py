"""The Temporal ID Encoder and the image anchor: rotary attention, routing, normalisation, errors."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proof import examples
from torch.utils import _pytree

from slotid_core.errors import SlotIDError
from slotid_core.systems.slot_id import (
    ImageAnchor,
    ImageAnchorConfig,
    SlotReaderConfig,
    TemporalEncoderConfig,
    TemporalIdentityEncoder,
)
from slotid_core.systems.slot_id.attention import SpatioTemporalBlock
from slotid_core.systems.slot_id.slot_reader import SlotReader, normalize_plan
from slotid_core.systems.slot_id.temporal_encoder import temporal_difference
from slotid_core.wan.rope import rotary_matrices, split_axes


def small_encoder(**settings) -> TemporalIdentityEncoder:
    torch.manual_seed(0)
    config = TemporalEncoderConfig(model_width=48, width=32, num_heads=2, global_width=24, **settings)
    return TemporalIdentityEncoder(config)


def latents(frames: int = 5, size: int = 8, seed: int = 1) -> torch.Tensor:
    return torch.randn(2, 16, frames, size, size, generator=torch.Generator().manual_seed(seed))


def naive_rotary_attention(q, k, v, grid):
    """Attention of one head with complex rotations, one token pair at a time."""
    head_dim = q.shape[-1]
    positions = [(t, y, x) for t in range(grid[0]) for y in range(grid[1]) for x in range(grid[2])]

    def rotate(vector, position):
        out, start = [], 0
        for axis, dim in enumerate(split_axes(head_dim)):
            for pair in range(dim // 2):
                angle = position[axis] / 10000 ** (2 * pair / dim)
                z = complex(vector[start + 2 * pair], vector[start + 2 * pair + 1])
                z *= complex(math.cos(angle), math.sin(angle))
                out += [z.real, z.imag]
            start += dim
        return torch.tensor(out, dtype=torch.float64)

    queries = [rotate(x.tolist(), p) for x, p in zip(q, positions, strict=True)]
    keys = [rotate(x.tolist(), p) for x, p in zip(k, positions, strict=True)]
    rows = []
    for query in queries:
        scores = torch.stack([(query * key).sum() / head_dim**0.5 for key in keys])
        rows.append((scores.softmax(0)[:, None] * v).sum(0))
    return torch.stack(rows)


def test_rotary_attention_equals_a_naive_reference():
    torch.manual_seed(0)
    block, grid = SpatioTemporalBlock(32, 2).double(), (2, 2, 3)
    tokens = torch.randn(1, 12, 32, dtype=torch.float64)
    q, k, v = block.qkv(tokens)[0].chunk(3, dim=-1)
    expected = torch.cat(
        [naive_rotary_attention(q[:, h], k[:, h], v[:, h], grid) for h in (slice(0, 16), slice(16, 32))], dim=1
    )
    actual = block.attend(tokens, rotary_matrices(grid, 16))
    assert torch.allclose(actual[0], expected, atol=1e-6)


def test_rotary_attention_depends_on_distance_only():
    torch.manual_seed(0)
    block, tokens = SpatioTemporalBlock(32, 2), torch.randn(1, 12, 32)
    here = block.attend(tokens, rotary_matrices((2, 2, 3), 16))
    there = block.attend(tokens, rotary_matrices((2, 2, 3), 16, offset=(7, 3, 11)))
    assert torch.allclose(here, there, atol=1e-5)


def test_temporal_difference_is_zero_first_and_sums_back():
    z = latents()
    difference = temporal_difference(z)
    assert difference[:, :, 0].abs().max() == 0
    assert torch.allclose(z[:, :, :1] + difference.cumsum(2), z, atol=1e-5)


def test_shapes_and_assignment():
    stream = small_encoder()(latents())
    assert stream.tokens.shape == (2, 6, 48)
    assert stream.global_vector.shape == (2, 24)
    assert stream.assignment.shape == (2, 6, 5, 4, 4)
    assert torch.allclose(stream.assignment.sum(1), torch.ones(2, 5, 4, 4), atol=1e-4)
    # Sinkhorn keeps capacity balanced: every slot takes about 1/S of the tokens.
    assert torch.allclose(stream.assignment.mean((2, 3, 4)), torch.full((2, 6), 1 / 6), atol=0.03)


def test_order_of_frames_matters_and_batch_rows_do_not_mix():
    encoder, z = small_encoder(), latents()
    forward, backward = encoder(z).tokens, encoder(z.flip(2)).tokens
    assert (forward - backward).abs().max() > 1e-3
    assert torch.allclose(encoder(z[1:]).tokens[0], forward[1], atol=1e-5)


@settings(max_examples=examples(30), deadline=None)
@given(seed=st.integers(0, 10**6), slots=st.integers(1, 12), tokens=st.integers(1, 300))
def test_row_normalisation_is_a_convex_average_and_the_papers_grows_with_length(seed, slots, tokens):
    generator = torch.Generator().manual_seed(seed)
    plan = torch.rand(1, slots, tokens, generator=generator) + 0.01
    assert torch.allclose(normalize_plan(plan, "row").sum(2), torch.ones(1, slots), atol=1e-4)
    paper = normalize_plan(plan, "paper")
    assert torch.allclose(paper.sum(1), torch.ones(1, tokens), atol=1e-4)
    assert math.isclose(paper.sum(2).mean().item(), tokens / slots, rel_tol=1e-3)


def test_slots_of_a_convex_average_do_not_depend_on_repeating_the_clip():
    torch.manual_seed(0)
    reader = SlotReader(SlotReaderConfig(sinkhorn_iterations=20), 16)
    tokens = torch.randn(1, 30, 16)
    once, _ = reader(tokens, 1.0)
    twice, _ = reader(torch.cat([tokens, tokens], dim=1), 1.0)
    assert torch.allclose(once, twice, atol=1e-4)


def test_lower_temperature_gives_sharper_assignment():
    encoder, z = small_encoder(), latents()
    entropies = []
    for temperature in (2.0, 1.0, 0.25):
        encoder.temperature = temperature
        assignment = encoder(z).assignment
        entropies.append(-(assignment * (assignment + 1e-9).log()).sum(1).mean().item())
    assert entropies[0] > entropies[1] > entropies[2]


def test_softmax_routing_can_starve_a_slot_where_sinkhorn_cannot():
    torch.manual_seed(0)
    logits = torch.randn(1, 4, 200)
    logits[:, 0] += 6
    shares = {}
    for routing in ("softmax", "sinkhorn"):
        reader = SlotReader(SlotReaderConfig(num_slots=4, routing=routing, sinkhorn_iterations=50), 8)
        plan = reader.route(logits)
        shares[routing] = (plan.sum(2) / plan.sum()).min().item()
    assert shares["softmax"] < 0.01
    assert abs(shares["sinkhorn"] - 0.25) < 1e-3


def test_every_parameter_gets_a_gradient():
    encoder = small_encoder()
    stream = encoder(latents())
    (stream.tokens.square().mean() + stream.global_vector.square().mean()).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in encoder.parameters())


def test_image_anchor_gives_distinct_tokens():
    torch.manual_seed(0)
    anchor = ImageAnchor(ImageAnchorConfig(model_width=48, width=32, num_heads=2, global_width=24))
    stream = anchor(latents(frames=1, size=16))
    assert stream.tokens.shape == (2, 2, 48) and stream.assignment.shape == (2, 2, 1, 8, 8)
    torch.testing.assert_close(stream.assignment.sum(1), torch.ones(2, 1, 8, 8))
    one, other = stream.tokens.unbind(1)
    assert torch.cosine_similarity(one, other).abs().max() < 0.9


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.zeros(1, 48, 3, 8, 8), "(1, 48, 3, 8, 8)"),
        (torch.zeros(16, 3, 8, 8), "(16, 3, 8, 8)"),
        (torch.zeros(1, 16, 3, 7, 8), "height 7"),
        (torch.full((1, 16, 3, 8, 8), float("nan")), "NaN"),
    ],
)
def test_bad_latents_are_named(bad, message):
    with pytest.raises(SlotIDError) as error:
        small_encoder()(bad)
    assert message in str(error.value)


def test_wrong_settings_are_named():
    with pytest.raises(SlotIDError, match="'sofmax'"):
        SlotReaderConfig(routing="sofmax")
    with pytest.raises(SlotIDError, match="'column'"):
        SlotReaderConfig(plan_normalization="column")


def test_a_streams_tensors_are_found_by_who_looks_through_outputs():
    """FSDP does, to know when gradients come."""
    stream = TemporalIdentityEncoder(TemporalEncoderConfig(16, width=32, num_heads=2))(torch.randn(1, 16, 2, 4, 4))
    found, form = _pytree.tree_flatten(stream)
    assert [t.data_ptr() for t in found] == [
        t.data_ptr() for t in (stream.tokens, stream.global_vector, stream.assignment)
    ]
    assert isinstance(_pytree.tree_unflatten(found, form), type(stream))
