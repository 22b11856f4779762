"""The encoders that slots are compared with: blind to what they must be blind to, and interchangeable with slots."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from typed import present

from slotid_core.errors import SlotIDError
from slotid_core.systems.slot_id import AdapterConfig, SlotIDAdapter, TemporalEncoderConfig, load_adapter, save_adapter
from slotid_core.systems.slot_id.baselines import ConvPoolEncoder, FactorEncoder, MeanLatentEncoder
from slotid_core.systems.slot_id.inference import FACTORS, INFERENCE
from slotid_core.toy_world.person import factors_of, sample_person

SHAPE: dict[str, Any] = {"width": 64, "num_heads": 2, "global_width": 32}


def clip(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 16, 5, 8, 8, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_the_mean_sees_neither_order_nor_place():
    torch.manual_seed(0)
    encoder = MeanLatentEncoder(TemporalEncoderConfig(128, **SHAPE))
    latents = clip()
    shuffled = latents.flatten(2)[:, :, torch.randperm(5 * 64)].view_as(latents)
    assert torch.allclose(encoder(latents).tokens, encoder(shuffled).tokens, atol=1e-5)
    assert not torch.allclose(encoder(latents).tokens, encoder(clip(1)).tokens, atol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("differences", [True, False])
def test_pooled_convolutions_see_order(differences):
    torch.manual_seed(0)
    encoder = ConvPoolEncoder(TemporalEncoderConfig(128, temporal_differences=differences, **SHAPE))
    assert not torch.allclose(encoder(clip()).tokens, encoder(clip().flip(2)).tokens, atol=1e-4)


@pytest.mark.parametrize("architecture", ["slots", "mean_latent", "conv_pool"])
def test_every_architecture_makes_an_adapter_that_saves_and_loads(architecture, tmp_path):
    torch.manual_seed(0)
    encoder = TemporalEncoderConfig(128, architecture=architecture, **SHAPE)
    adapter = SlotIDAdapter(AdapterConfig.for_model(128, 4, encoder=encoder, anchor=None)).eval()
    save_adapter(tmp_path / "adapter.safetensors", adapter)
    loaded = load_adapter(tmp_path / "adapter.safetensors")
    with torch.no_grad():
        before, after = adapter(clip(), clip()[:, :, :1]), loaded(clip(), clip()[:, :, :1])
        assignment = present(adapter.encoder)(clip()).assignment
    assert before.video_tokens.shape == (2, 6, 128) and torch.equal(before.video_tokens, after.video_tokens)
    assert torch.allclose(assignment.sum(1), torch.ones(2, 5, 4, 4), atol=1e-4)


def test_an_unknown_architecture_is_refused():
    with pytest.raises(SlotIDError, match="mean_latent"):
        AdapterConfig.for_model(128, 4, encoder=TemporalEncoderConfig(128, architecture="magic"), anchor=None)


def test_the_oracle_is_told_everything_about_a_person():
    people = [sample_person(seed) for seed in range(200)]
    told = torch.stack([factors_of(person) for person in people])
    assert told.shape == (200, FACTORS) and told.abs().max() <= 1
    assert len(torch.unique(told, dim=0)) == 200
    assert bool((told.std(0) > 0).all())  # every place says something of somebody
    first = people[0]
    changed = factors_of(replace(first, sway=1 - first.sway))
    assert int((changed != told[0]).sum()) == 1


def test_the_oracle_reads_factors_and_refuses_a_clip():
    torch.manual_seed(0)
    encoder = FactorEncoder(TemporalEncoderConfig(128, architecture="factors", latent_channels=FACTORS, **SHAPE))
    stream = encoder(torch.stack([factors_of(sample_person(seed)) for seed in (1, 2)]))
    assert stream.tokens.shape == (2, 6, 128) and stream.global_vector.shape == (2, 32)
    with pytest.raises(SlotIDError, match="for measurement"):
        encoder(clip())


def test_the_oracles_variant_is_a_whole_adapter(tmp_path):
    changes = dict(change.split("=") for change in INFERENCE.variants["oracle"].changes)
    assert int(changes["adapter.encoder.latent_channels"]) == FACTORS
    encoder = TemporalEncoderConfig(128, architecture="factors", latent_channels=FACTORS, **SHAPE)
    adapter = SlotIDAdapter(AdapterConfig.for_model(128, 4, encoder=encoder, anchor=None)).eval()
    save_adapter(tmp_path / "adapter.safetensors", adapter)
    loaded = INFERENCE.load(tmp_path / "adapter.safetensors")
    assert loaded.required_tensors == ("factors", "portrait")
    factors, portrait = factors_of(sample_person(3))[None], clip()[:1, :, :1]
    with torch.no_grad():
        person, own = loaded.person({"factors": factors, "portrait": portrait}), adapter(factors, portrait)
    torch.testing.assert_close(person.video_tokens, own.video_tokens)
