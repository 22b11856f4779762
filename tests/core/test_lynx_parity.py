"""Lynx against the official modules' recorded numbers, and against its formulas written out a second time."""

import json
from pathlib import Path

import lynx_waves as waves
import pytest
import torch
import torch.nn.functional as F
from typed import instance, present

from slotid_core.systems.lynx import LynxCondition, build_adapter, install_lynx, read_features
from slotid_core.systems.lynx.adapter import KeyValueLayer
from slotid_core.wan.model import Block
from slotid_core.wan.rope import apply_rotary, rotary_matrices, undo_rotary

RECORDED = json.loads(Path(__file__).with_name("lynx_recorded.json").read_text())["values"]
BLOCKS = range(waves.DEPTH)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def assert_as_recorded(tensor: torch.Tensor, recorded: dict) -> None:
    flat = tensor.double().flatten()
    found = {"first": flat[:4], "last": flat[-4:], "mean": flat.mean(), "mean_abs": flat.abs().mean()}
    for name, value in found.items():
        assert (value - torch.tensor(recorded[name], dtype=torch.float64)).abs().max() <= 1e-5, name


def adapter(variant: str, with_reference: bool = False):
    id_layers, width = {
        "full": (waves.full_id_layers, waves.WIDTH),
        "lite": (waves.lite_id_layers, waves.LITE_TOKEN_WIDTH),
    }[variant]
    reference = waves.ref_layers() if with_reference else None
    return build_adapter(waves.wave_resampler(width).state_dict(), id_layers(), reference)


def features(model) -> torch.Tensor:
    return read_features(model, lambda: model(*waves.reference_inputs()))


def velocity(model, condition: LynxCondition, blocks=BLOCKS) -> torch.Tensor:
    return model(*waves.video_inputs(), transformer_options=install_lynx({}, model, condition, blocks))


def person(branches_of) -> dict:
    """Branches of one row, the person."""
    return branches_of.face_branches(waves.face_embedding())


ONE_ROW = torch.tensor([0])


def test_base_and_resampler_are_as_recorded():
    assert_as_recorded(waves.wave_wan()(*waves.video_inputs()), RECORDED["base"])
    for variant, width in (("full", waves.WIDTH), ("lite", waves.LITE_TOKEN_WIDTH)):
        tokens = waves.wave_resampler(width)(waves.face_embedding()[:, None])
        assert_as_recorded(tokens, RECORDED[f"resampler_{variant}"])


def test_reference_features_of_every_block_are_as_recorded():
    found = features(waves.wave_wan())
    assert found.shape == (2, waves.DEPTH, 16, waves.WIDTH)
    for block in BLOCKS:
        assert_as_recorded(found[1, block], RECORDED["reference"][block])


@pytest.mark.parametrize("scales", [(1.0, 0.0), (1.0, 1.0), (0.6, 0.4)])
def test_full_is_as_recorded(scales):
    model, lynx = waves.wave_wan(), adapter("full", with_reference=True)
    reference = lynx.reference_branches(features(model)[1:])
    condition = LynxCondition(ONE_ROW, person(lynx), reference, *scales)
    assert_as_recorded(velocity(model, condition), RECORDED["full_{}_{}".format(*scales)])


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_lite_is_as_recorded(scale):
    model, lynx = waves.wave_wan(), adapter("lite")
    assert_as_recorded(velocity(model, LynxCondition(ONE_ROW, person(lynx), id_scale=scale)), RECORDED[f"lite_{scale}"])


def test_official_and_repacked_files_give_the_same():
    from slotid_core.systems.lynx.random_checkpoints import repack

    official = {"full": waves.full_id_layers(), "lite": waves.lite_id_layers(), "ref": waves.ref_layers()}
    numbered = {f"{2 * int(key[0])}{key[1:]}": value for key, value in official["lite"].items()}
    for variant, width, renumbered in (
        ("full", waves.WIDTH, official["full"]),
        ("lite", waves.LITE_TOKEN_WIDTH, numbered),
    ):
        resampler = waves.wave_resampler(width).state_dict()
        first = build_adapter(resampler, official[variant], official["ref"])
        prefixed = {f"diffusion_model.{key}": value for key, value in repack(official["ref"], "ref").items()}
        second = build_adapter(resampler, repack(renumbered, "ip"), prefixed)
        assert first.variant == second.variant == variant
        states = first.state_dict(), second.state_dict()
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_one_block_by_the_formulas_written_out():
    """text(q) + s_id softmax(q k_id / sqrt d) v_id before the output layer, and so for the reference, q unturned."""
    model, lynx = waves.wave_wan(), adapter("full", with_reference=True)
    block = instance(model.blocks[2], Block)
    id_layer, ref_layer = (instance(layers["2"], KeyValueLayer) for layers in (lynx.id_layers, lynx.ref_layers))
    tokens = torch.cat(
        [waves.wave_resampler(waves.WIDTH)(waves.face_embedding()[:, None]), present(id_layer.registers)], dim=1
    )
    reference = features(model)[1:, 2]
    hidden, text = waves.wave(1, 24, waves.WIDTH, phase=2.0), waves.wave(1, 7, waves.WIDTH, phase=2.1)
    time, rotary = waves.wave(1, 1, 6, waves.WIDTH, phase=2.2), rotary_matrices((2, 3, 4), 128)

    def softmax_attention(q, k, v):
        heads = [
            torch.softmax(q[0, :, part] @ k[0, :, part].T / 128**0.5, dim=1) @ v[0, :, part]
            for part in (slice(0, 128), slice(128, 256))
        ]
        return torch.cat(heads, dim=1)[None]

    def rms(x, weight):
        return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * weight

    shift1, scale1, gate1, shift2, scale2, gate2 = (block.modulation + time)[0, 0].unsqueeze(1).unbind(0)
    attn, x = block.self_attn, hidden
    seen = F.layer_norm(x, (waves.WIDTH,), eps=1e-6) * (1 + scale1) + shift1
    q, k = (rms(linear(seen), norm.weight) for linear, norm in ((attn.q, attn.norm_q), (attn.k, attn.norm_k)))
    turned = [apply_rotary(t.unflatten(2, (2, 128)), rotary).flatten(2) for t in (q, k)]
    added = softmax_attention(q, rms(ref_layer.to_k(reference), attn.norm_k.weight), ref_layer.to_v(reference))
    x = x + gate1 * attn.o(softmax_attention(*turned, attn.v(seen)) + 0.4 * added)
    attn = block.cross_attn
    q = rms(attn.q(block.norm3(x)), attn.norm_q.weight)
    added = softmax_attention(q, rms(id_layer.to_k(tokens), attn.norm_k.weight), id_layer.to_v(tokens))
    x = x + attn.o(softmax_attention(q, rms(attn.k(text), attn.norm_k.weight), attn.v(text)) + 0.6 * added)
    expected = x + gate2 * block.ffn(F.layer_norm(x, (waves.WIDTH,), eps=1e-6) * (1 + scale2) + shift2)

    reference_branches = lynx.reference_branches(features(model)[1:])
    condition = LynxCondition(ONE_ROW, person(lynx), reference_branches, 0.6, 0.4)
    options = install_lynx({}, model, condition, [2])
    replace = options["patches_replace"]["dit"][("double_block", 2)]

    def original(args):
        options = args["transformer_options"]
        return {"img": block(args["img"], args["txt"], args["vec"], args["pe"], 0, transformer_options=options)}

    args = {"img": hidden, "txt": text, "vec": time, "pe": rotary, "transformer_options": options}
    actual = replace(args, {"original_block": original})["img"]
    assert (actual - expected).abs().max() <= 1e-5


def test_rotation_is_undone():
    x, rotary = waves.wave(2, 24, 2, 128, phase=3.0), rotary_matrices((2, 3, 4), 128)
    assert torch.allclose(undo_rotary(apply_rotary(x, rotary), rotary), x, atol=1e-6)
    assert not torch.allclose(apply_rotary(x, rotary), x, atol=1e-1)
