"""LaVieID's local encoder and φ against ConsisID's published modules: recorded numbers, and the modules themselves
where the package that holds them is installed."""

import json
from pathlib import Path

import lynx_waves as waves
import pytest
import torch

from slotid_core.systems.lavie_id import EncoderConfig, VisionConfig
from slotid_core.systems.lavie_id.local_encoder import LocalEncoder, identity_width
from slotid_core.systems.lavie_id.router import CrossAttention

RECORDED = json.loads(Path(__file__).with_name("lavie_id_recorded.json").read_text())["values"]
VISION = VisionConfig("own", side=32, width=64, pooled_width=40, levels=(0, 1, 2), patch=8, heads=2)
ENCODER = EncoderConfig(
    width=64, depth=6, heads=2, head_width=32, identity_tokens=3, num_tokens=8, token_width=48, mlp_factor=2,
    face_width=21,
)  # fmt: skip
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


@pytest.mark.parametrize(("name", "make"), [("local_facial_extractor", our_tokens), ("cross_attention", our_attention)])
def test_our_modules_give_what_consisids_gave(name, make):
    found, recorded = make(), RECORDED[name]
    assert list(found.shape) == recorded["shape"]
    flat = found.double().flatten()
    values = {"first": flat[:4], "last": flat[-4:], "mean": flat.mean(), "mean_abs": flat.abs().mean()}
    for key, value in values.items():
        assert (value - torch.tensor(recorded[key], dtype=torch.float64)).abs().max() <= LIMIT, key


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


def test_the_encoder_has_the_published_size():
    """151 million parameters with ConsisID's inputs."""
    with torch.device("meta"):
        vision = VisionConfig(width=1024, pooled_width=768 - 3)
        module = LocalEncoder(EncoderConfig(), vision)
        attention = CrossAttention(2048, 3072, 16, 128)
    assert identity_width(EncoderConfig(), vision) == 1280
    assert sum(p.numel() for p in module.parameters()) == 151_398_400
    assert sum(p.numel() for p in attention.parameters()) == 20_981_760
