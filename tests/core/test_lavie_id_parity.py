"""LaVieID's local encoder, φ and EVA02-CLIP against ConsisID's published modules: recorded numbers, and the modules
themselves where the packages that hold them are installed."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import lynx_waves as waves
import pytest
import torch

from slotid_core.errors import SlotIDError
from slotid_core.systems.lavie_id import EncoderConfig, VisionConfig
from slotid_core.systems.lavie_id.config import EVA02_CLIP_L
from slotid_core.systems.lavie_id.eva_vision import EvaVision
from slotid_core.systems.lavie_id.local_encoder import LocalEncoder, identity_width
from slotid_core.systems.lavie_id.router import CrossAttention
from slotid_core.systems.lavie_id.vision import VisionFeatures, clip_features, load_vision
from slotid_core.weights import save_weights

RECORDED = json.loads(Path(__file__).with_name("lavie_id_recorded.json").read_text())["values"]
VISION = VisionConfig("own", side=32, width=64, pooled_width=40, levels=(0, 1, 2), patch=8, heads=2)
ENCODER = EncoderConfig(
    width=64, depth=6, heads=2, head_width=32, identity_tokens=3, num_tokens=8, token_width=48, mlp_factor=2,
    face_width=21,
)  # fmt: skip
EVA = VisionConfig("eva02_clip_l", side=40, width=64, pooled_width=24, levels=(1, 3, 5), patch=8, heads=2)
COMPONENTS, SEEN, VIDEO_WIDTH = 3, 11, 96
LIMIT = 1e-5


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def encoder_inputs() -> tuple[torch.Tensor, list[torch.Tensor]]:
    identity = waves.wave(COMPONENTS, identity_width(ENCODER, VISION), phase=0.3)
    return identity, [waves.wave(COMPONENTS, SEEN, VISION.width, phase=0.5 + level) for level in range(3)]


def attention_inputs() -> tuple[torch.Tensor, torch.Tensor]:
    return waves.wave(1, 8, ENCODER.token_width, phase=0.2), waves.wave(1, 15, VIDEO_WIDTH, phase=0.4)


def our_tokens() -> torch.Tensor:
    identity, levels = encoder_inputs()
    return waves.fill(LocalEncoder(ENCODER, VISION), phase=0.1)(levels, identity)


def our_attention() -> torch.Tensor:
    tokens, z = attention_inputs()
    attention = waves.fill(CrossAttention(ENCODER.token_width, VIDEO_WIDTH, 2, 16), phase=0.6)
    key, value = attention.keys_and_values(tokens[:, None])
    return attention(z, key, value, torch.ones(1, 15, 1))


def small_eva() -> EvaVision:
    return waves.fill(EvaVision(EVA.width, 6, EVA.heads, 170, EVA.patch, EVA.side, EVA.pooled_width), phase=0.7)


def eva_inputs() -> torch.Tensor:
    return waves.wave(2, 3, EVA.side, EVA.side, phase=0.9)


def our_eva_level() -> torch.Tensor:
    seen = []
    network = small_eva()
    network.blocks[5].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(eva_inputs())
    return seen[0]


@pytest.mark.parametrize(("name", "make"), [("local_facial_extractor", our_tokens), ("cross_attention", our_attention),
    ("eva_pooled", lambda: small_eva()(eva_inputs())), ("eva_level_5", our_eva_level)])  # fmt: skip
def test_our_modules_give_what_consisids_gave(name, make):
    found, recorded = make(), RECORDED[name]
    assert list(found.shape) == recorded["shape"]
    flat = found.double().flatten()
    values = {"first": flat[:4], "last": flat[-4:], "mean": flat.mean(), "mean_abs": flat.abs().mean()}
    for key, value in values.items():
        limit = LIMIT * max(1.0, recorded["mean_abs"])
        assert (value - torch.tensor(recorded[key], dtype=torch.float64)).abs().max() <= limit, key


def test_our_modules_are_consisids_where_these_can_be_imported():
    published = pytest.importorskip("diffusers.models.transformers.consisid_transformer_3d")
    identity, levels = encoder_inputs()
    extractor = published.LocalFacialExtractor(
        id_dim=identity.shape[1], vit_dim=64, depth=6, dim_head=32, heads=2, num_id_token=3, num_queries=8,
        output_dim=48, ff_mult=2, num_scale=3,
    )  # fmt: skip
    assert (waves.fill(extractor, phase=0.1)(identity, levels) - our_tokens()).abs().max() <= LIMIT
    tokens, z = attention_inputs()
    attention = published.PerceiverCrossAttention(VIDEO_WIDTH, 16, 2, ENCODER.token_width)
    assert (waves.fill(attention, phase=0.6)(tokens, z) - our_attention()).abs().max() <= LIMIT


def published_eva() -> Any:
    """Built as EVA02-CLIP-L-14-336 is, but for its sizes."""
    published = pytest.importorskip("consisid_eva_clip.eva_vit_model")
    return published.EVAVisionTransformer(
        img_size=EVA.side, patch_size=EVA.patch, num_classes=EVA.pooled_width, use_mean_pooling=False,
        embed_dim=EVA.width, depth=6, num_heads=EVA.heads, mlp_ratio=2.6667, qkv_bias=True,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), xattn=True, rope=True, pt_hw_seq_len=16, intp_freq=True,
        naiveswiglu=True, subln=True,
    )  # fmt: skip


def test_our_eva_clip_is_consisids_where_it_can_be_imported():
    published = waves.fill(published_eva(), phase=0.7)
    assert {name for name in published.state_dict() if "rope." not in name} == set(small_eva().state_dict())
    seen = []
    published.blocks[5].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    pooled = published(eva_inputs(), return_hidden=True)[0]
    assert (pooled - small_eva()(eva_inputs())).abs().max() <= LIMIT
    level = our_eva_level()
    assert (seen[0] - level).abs().max() <= LIMIT * level.abs().mean()


def test_eva_clip_has_the_published_size():
    """304 million parameters, 512 tensors."""
    vision = EVA02_CLIP_L
    with torch.device("meta"):
        network = EvaVision(
            vision.width, 24, vision.heads, 2730, vision.patch, vision.side, vision.pooled_width
        )  # fmt: skip
    assert sum(p.numel() for p in network.parameters()) == 304_432_832 and len(network.state_dict()) == 512


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_file_in_the_published_layout_is_read(tmp_path, ending):
    """With a text encoder, the angles of rotation and half precision, as published."""
    network, path = small_eva(), tmp_path / f"EVA02.{ending}"
    tensors = {f"visual.{name}": tensor.half() for name, tensor in network.state_dict().items()}
    others = {"visual.rope.freqs_cos": torch.ones(25, 32), "text.positional_embedding": torch.ones(3), "logit_scale": 1}
    tensors |= {name: torch.as_tensor(value).half() for name, value in others.items()}
    if ending == "pt":
        torch.save(tensors, path)
    else:
        save_weights(path, tensors, {"kind": "eva", "version": 1})
    pictures = torch.rand(2, 3, EVA.side, EVA.side, generator=torch.Generator().manual_seed(0))
    found = clip_features(load_vision(path, EVA).float(), pictures, EVA.levels)
    expected = clip_features(network, pictures, EVA.levels)
    assert [level.shape for level in found.levels] == [(2, 26, 64)] * 3 and found.pooled.shape == (2, 24)
    assert all((a - b).abs().max() < 0.02 * b.abs().mean() for a, b in zip(parts(found), parts(expected), strict=True))
    other = VisionConfig("eva02_clip_l", side=40, width=64, pooled_width=25, levels=(1, 3), patch=8, heads=2)
    with pytest.raises(SlotIDError, match="EVA02.*25 pooled numbers.*this one has 64, 24 and 26.*EVA02_CLIP_L_336"):
        load_vision(path, other)


def parts(features: VisionFeatures) -> list[torch.Tensor]:
    return [*features.levels, features.pooled]


def test_the_encoder_has_the_published_size():
    """151 million parameters with ConsisID's inputs."""
    with torch.device("meta"):
        vision = VisionConfig(width=1024, pooled_width=768 - 3)
        module = LocalEncoder(EncoderConfig(), vision)
        attention = CrossAttention(2048, 3072, 16, 128)
    assert identity_width(EncoderConfig(), vision) == 1280
    assert sum(p.numel() for p in module.parameters()) == 151_398_400
    assert sum(p.numel() for p in attention.parameters()) == 20_981_760
