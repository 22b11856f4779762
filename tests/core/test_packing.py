"""Packing: samples of any sizes in one sequence, each with the loss and the gradients that it has alone."""

import numpy as np
import pytest
import torch
from conftest import TINY_DEPTH, TINY_WIDTH, tiny_wan
from hypothesis import given, settings
from hypothesis import strategies as st
from proof import examples
from typed import instance

from slotid_core.config import config_from_dict
from slotid_core.systems.contract import Batch, PackedBatch, SharedObjective, StrategySettings, packed, token_count
from slotid_core.systems.registry import SYSTEMS, objective_settings_of, strategy_of
from slotid_core.training.batches import collate, collate_packed, draw_row
from slotid_core.training.mix import cut_into

# Latent frames, height and width: pictures and clips, an odd side among them.
SIZES = [(3, 4, 6), (1, 4, 4), (2, 8, 2), (1, 5, 6), (3, 4, 6)]
STREAM = {"width": 64, "num_heads": 2, "global_width": 32}
# Name of a case -> system, adapter settings, its own objective.
CASES = {
    "slot_id": (
        "slot_id",
        {
            "encoder": STREAM, "anchor": STREAM, "reference_size": 32, "reference_frames": 5, "portrait_size": 16,
            "film_rank": 4, "lora": {"rank": 4, "alpha": 4.0},
        },
        {"portrait_weight": 0.2, "movement_weight": 1.0, "token_dropout": 0.3},
    ),
    "lynx": ("lynx", {"resampler": {"width": 64, "depth": 1, "num_heads": 1, "num_tokens": 4, "mlp_width": 64}}, {}),
    "lynx lite": (
        "lynx",
        {
            "variant": "lite",
            "resampler": {
                "width": 64, "depth": 1, "num_heads": 1, "num_tokens": 4, "mlp_width": 64, "output_width": 32,
            },
        },
        {},
    ),
    "st_drc": ("st_drc", {"lora": {"rank": 4, "alpha": 4.0}}, {}),
    "st_drc as Stand-In": (
        "st_drc",
        {
            "lora": {"rank": 4, "alpha": 4.0, "tokens": "reference"},
            "layout": {"reference_attends": "itself", "reads_text": False},
        },
        {},
    ),
    "lavie_id": (
        "lavie_id",
        {
            "vision": {
                "kind": "own", "side": 16, "width": 32, "pooled_width": 16, "levels": [0, 1], "patch": 4, "heads": 2,
            },
            "encoder": {
                "width": 32, "depth": 2, "heads": 2, "head_width": 16, "identity_tokens": 2, "num_tokens": 4,
                "token_width": 32, "face_width": 0,
            },
            "router": {"inner_width": 32, "heads": 2, "head_width": 16},
        },
        {},
    ),
}  # fmt: skip


def strategy_for(case: str):
    system, adapter, own = CASES[case]
    shared = SharedObjective(change_weight=2.0, described_weight=0.5)
    torch.manual_seed(0)
    made = strategy_of(system)(
        StrategySettings(adapter, shared, config_from_dict(objective_settings_of(system), own), 10), tiny_wan()
    )
    assert isinstance(made, torch.nn.Module)
    with torch.no_grad():  # so that no part is silent, as all are before training
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    made.at_step(0)
    return made.train()


def sample(system: str, size, generator) -> dict[str, torch.Tensor]:
    """Prepared tensors of a sample whose video has `size`."""
    frames, height, width = size

    def noise(*shape):
        return torch.randn(shape, generator=generator)

    shares = noise(7, frames, -(-height // 2), -(-width // 2)).softmax(0)
    return {
        "video": noise(16, frames, height, width),
        "text": noise(3 + height % 3, 4096),
        "empty_text": noise(1, 4096),
        "described": noise(2 + frames, 4096),
        **{
            "slot_id": lambda: {"reference": noise(16, 2, 4, 4), "portrait": noise(16, 1, 2, 2)},
            "lynx": lambda: {
                "face_embedding": noise(512) / 512**0.5, "face_picture": noise(16, 1, 4, 4),
                "grey_picture": torch.zeros(16, 1, 4, 4), "face_prompt": torch.ones(3, 4096),
            },
            "st_drc": lambda: {
                "reference_picture": noise(16, 1, height, width), "augmented_pictures": noise(16, 2, height, width),
            },
            "lavie_id": lambda: {
                "component_pictures": noise(6, 3, 16, 16), "component_places": noise(6, 4).abs() + 0.1,
                "component_shares": shares,
            },
        }[system](),
    }  # fmt: skip


def rows_of(case: str, strategy, sizes=SIZES) -> list[dict[str, torch.Tensor]]:
    system, generator = CASES[case][0], torch.Generator().manual_seed(5)
    objective = SharedObjective(described_weight=0.5, identity_dropout=0.3, text_dropout=0.2)
    rng = np.random.default_rng(3)
    rows = [draw_row(sample(system, size, generator), objective, strategy.draw, rng, float) for size in sizes]
    rows[1]["has_identity"] = torch.tensor(0.0)  # whatever was drawn, both are there
    rows[2]["has_identity"] = torch.tensor(1.0)
    return rows


def losses_and_gradients(strategy, batches: list) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    strategy.zero_grad()
    losses = torch.cat([strategy(batch) for batch in batches])
    losses.sum().backward()
    found = {name: p.grad.clone() for name, p in strategy.named_parameters() if p.grad is not None}
    return losses.detach(), found


def test_every_system_packs():
    assert {system for system, _, _ in CASES.values()} == set(SYSTEMS)
    assert all(getattr(strategy_of(system), "packs", False) for system in SYSTEMS)


@pytest.mark.parametrize("case", CASES)
def test_each_sample_of_a_pack_has_the_loss_that_it_has_alone(case):
    strategy = strategy_for(case)
    rows = rows_of(case, strategy)
    alone, own = losses_and_gradients(strategy, [collate([row], strategy.text_rows) for row in rows])
    together, joint = losses_and_gradients(strategy, [collate_packed(rows, strategy.text_rows)])
    assert together.shape == (len(SIZES),) and alone.std() > 1e-3
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-6)
    assert own.keys() == joint.keys() and own
    for name, gradient in own.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(joint[name], gradient, atol=1e-6 + 2e-5 * scale, rtol=1e-4, msg=name)


@pytest.mark.parametrize("case", ["slot_id", "lynx", "lavie_id"])
def test_recomputed_blocks_see_the_same_packing(case):
    strategy = strategy_for(case)
    batch = collate_packed(rows_of(case, strategy), strategy.text_rows)
    kept, own = losses_and_gradients(strategy, [batch])
    strategy.model.activation_checkpointing = True
    again, joint = losses_and_gradients(strategy, [batch])
    torch.testing.assert_close(again, kept)
    for name, gradient in own.items():
        torch.testing.assert_close(joint[name], gradient, msg=name)


@pytest.mark.parametrize("case", CASES)
def test_a_sample_sees_nothing_of_the_others(case):
    """Whatever stands beside it in the sequence: other noise, other people, other prompts, in another order."""
    strategy = strategy_for(case).eval()
    rows = rows_of(case, strategy)
    changed = [rows[0], *(row | {"video": row["video"] + 3.0} for row in rows[:0:-1])]
    with torch.no_grad():
        first = strategy(collate_packed(rows, strategy.text_rows))[0]
        second = strategy(collate_packed(changed, strategy.text_rows))[0]
    torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-6)


def test_the_model_gives_each_sample_its_own_velocity_and_no_padding():
    """One long row through the linear layers: as many tokens as the samples have."""
    model = tiny_wan()
    parts = [torch.randn(1, 16, *size) for size in SIZES]
    level, context = torch.linspace(0.1, 0.9, len(parts)), torch.randn(len(parts), 4, 4096)
    context[:, -1] = 0
    seen = []
    hook = model.blocks[0].ffn.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    with torch.no_grad():
        outs = model(parts, 1000 * level, context, padding_row=3)
        hook.remove()
        for index, (part, out) in enumerate(zip(parts, outs, strict=True)):
            row = slice(index, index + 1)
            alone = model(part, 1000 * level[row], context[row], padding_row=3)
            assert out.shape == part.shape
            torch.testing.assert_close(out, alone, atol=1e-5, rtol=1e-4)
    assert seen == [(1, sum(token_count(part) for part in parts), TINY_WIDTH)] and TINY_DEPTH > 1


def batch_of(sizes) -> PackedBatch:
    rows = [
        Batch(torch.full((1, 16, *size), float(n)), torch.zeros(1, 1, 8), zeros, torch.rand(1), torch.ones(1))
        for n, size in enumerate(sizes)
        for zeros in [torch.zeros(1, 16, *size)]
    ]
    return instance(packed(rows), PackedBatch)


sizes_of_samples = st.lists(st.tuples(st.integers(1, 5), st.integers(2, 9), st.integers(2, 9)), min_size=1, max_size=12)


@given(sizes_of_samples, st.integers(4, 120), st.integers(0, 1))
@settings(max_examples=examples(40), deadline=None)
def test_packs_keep_to_the_budget_and_lose_nobody(sizes, budget, appended):
    packs = batch_of(sizes).split(budget, appended)
    numbers = [int(part.video.flatten()[0]) for pack in packs for part in pack.parts]
    assert sorted(numbers) == list(range(len(sizes)))
    totals = [[token_count(part.video, appended) for part in pack.parts] for pack in packs]
    assert all(sum(total) <= budget or len(total) == 1 for total in totals)
    half_empty = [total for total in totals if 2 * sum(total) <= budget]
    assert len(half_empty) <= 1, "two packs that are half empty would have been one"


@given(sizes_of_samples, st.integers(4, 120), st.integers(1, 12))
@settings(max_examples=examples(20), deadline=None)
def test_processes_can_take_equally_many_packs(sizes, budget, count):
    packs = batch_of(sizes).split(budget)
    count = min(max(count, len(packs)), len(sizes))
    cut = cut_into(packs, count)
    assert len(cut) == count and sum(map(len, cut)) == len(sizes) and all(len(pack) for pack in cut)
