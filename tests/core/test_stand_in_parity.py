"""Stand-In in ST-DRC's room: against recorded numbers of the authors' code, and its formulas written out again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import stand_in_small as small
import torch

from slotid_core.systems.st_drc import ReferenceCondition, install_reference
from slotid_core.systems.st_drc.adapter import STDRCAdapter
from slotid_core.systems.st_drc.injection import clean_modulation, embed_pictures, reference_rotary
from slotid_core.systems.st_drc.stand_in import read_published
from slotid_core.wan.hooks.cache import RunCache
from slotid_core.wan.rope import apply_rotary, rotary_matrices

RECORDED = json.loads(Path(__file__).with_name("stand_in_recorded.json").read_text())["values"]
GRID, PICTURE_GRID = (3, 3, 4), (1, 5, 4)
LIMIT = 1e-5


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def assert_as_recorded(tensor: torch.Tensor, recorded: dict) -> None:
    flat = tensor.double().flatten()
    found = {"first": flat[:4], "last": flat[-4:], "mean": flat.mean(), "mean_abs": flat.abs().mean()}
    for name, value in found.items():
        assert (value - torch.tensor(recorded[name], dtype=torch.float64)).abs().max() <= LIMIT, name


def condition(**changes) -> ReferenceCondition:
    adapter = STDRCAdapter(*read_published(small.published_lora()))
    return ReferenceCondition(small.picture(), adapter.config.layout, lora=adapter.token_lora, **changes)


def velocity(model, inputs, cache: RunCache | None = None) -> torch.Tensor:
    options = install_reference({}, model, condition(), GRID, inputs[0], cache, "person")
    return model(*inputs, transformer_options=options)


def kept(cache: RunCache) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values of the reference by block."""
    return [cast(tuple[torch.Tensor, torch.Tensor], tensors) for tensors in cache._values.values()]


def test_the_base_is_as_recorded():
    assert_as_recorded(small.small_wan()(*small.first_inputs()), RECORDED["base"])


def test_a_run_is_as_recorded_its_keys_too():
    """The first step computes the reference; a later one, under another prompt, reads what was kept of it."""
    model, cache = small.small_wan(), RunCache()
    cache.start("run")
    assert_as_recorded(velocity(model, small.first_inputs(), cache), RECORDED["first_pass"])
    for block, (key, value) in enumerate(kept(cache)):
        assert_as_recorded(key, RECORDED["keys"][block])
        assert_as_recorded(value, RECORDED["values"][block])
    assert_as_recorded(velocity(model, small.later_inputs(), cache), RECORDED["later_pass"])


def test_without_keeping_a_later_step_is_the_same():
    assert_as_recorded(velocity(small.small_wan(), small.later_inputs()), RECORDED["later_pass"])


@pytest.mark.parametrize(
    "other",
    [{"spatial_shift": False}, {"before_video": False}, {"reads_text": True}, {"reference_attends": "all"},
     {"modulation": "shared"}, "no LoRA"],
)  # fmt: skip
def test_the_recorded_numbers_tell_each_part(other):
    """Without any one part the result is another one, so that the recording tests it."""
    usual = condition()
    changed = replace(usual, lora={}) if other == "no LoRA" else replace(usual, layout=replace(usual.layout, **other))
    model, inputs = small.small_wan(), small.first_inputs()
    options = install_reference({}, model, changed, GRID, inputs[0])
    with pytest.raises(AssertionError):
        assert_as_recorded(model(*inputs, transformer_options=options), RECORDED["first_pass"])


def places() -> list[tuple[int, int, int]]:
    _, h, w = GRID
    return [(-1, y + h, x + w) for y in range(PICTURE_GRID[1]) for x in range(PICTURE_GRID[2])]


def test_each_token_of_the_picture_is_one_before_the_video_and_beside_it():
    """(-1, y + h, x + w) with the video's h and w, on the grid that begins at 0; through a rotation of each alone."""
    rotary = reference_rotary(GRID, PICTURE_GRID, condition().layout, 128)
    single = [rotary_matrices((1, 1, 1), 128, offset=place) for place in places()]
    assert torch.equal(rotary, torch.cat(single, dim=1))
    back, there = (rotary_matrices((1, 1, 1), 128, offset=(time, 0, 0)) for time in (-1, 1))
    assert torch.allclose(back, there.mT, atol=1e-7), "a negative place turns the other way"


def test_the_blocks_by_the_formulas_written_out():
    """Each block's keys and values of the reference, from its own tokens alone."""
    model, lora = small.small_wan(), small.published_lora()
    tokens, grid = embed_pictures(model, small.picture(), torch.zeros(1))
    assert grid == PICTURE_GRID
    rotary = torch.cat([rotary_matrices((1, 1, 1), 128, offset=place) for place in places()], dim=1)
    modulation = clean_modulation(model, torch.zeros(1))[:, 0]

    def heads(x):
        return x.unflatten(2, (2, 128))

    def changed(block, index, name, x):
        down, up = (lora[f"blocks.{index}.self_attn.{name}_loras.{part}.weight"] for part in ("down", "up"))
        return getattr(block.self_attn, name)(x) + x @ down.T @ up.T

    def layer_norm(x):
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()

    cache = RunCache()
    velocity(model, small.first_inputs(), cache)
    blocks: Any = model.blocks
    hidden, worst = tokens, 0.0
    for index, block in enumerate(blocks):
        move, scale, gate, late_move, late_scale, late_gate = (modulation + block.modulation).chunk(6, dim=1)
        x = layer_norm(hidden) * (1 + scale) + move
        query = apply_rotary(heads(block.self_attn.norm_q(changed(block, index, "q", x))), rotary)[0]
        key = apply_rotary(heads(block.self_attn.norm_k(changed(block, index, "k", x))), rotary)[0]
        value = heads(changed(block, index, "v", x))[0]
        for found, expected in zip(kept(cache)[index], (key, value), strict=True):
            worst = max(worst, float((found[0] - expected.flatten(1)).abs().max()))
        weights = torch.einsum("qhc,khc->hqk", query, key).div(128**0.5).softmax(-1)
        attended = torch.einsum("hqk,khc->qhc", weights, value).flatten(1)[None]
        hidden = hidden + gate * block.self_attn.o(attended)
        hidden = hidden + late_gate * block.ffn(layer_norm(hidden) * (1 + late_scale) + late_move)
    assert worst <= LIMIT
