"""The tiny checkpoints load through ComfyUI's own loaders, do not produce NaN, and are the same for everybody."""

import hashlib

import pytest
import torch

from slotid_core.systems.slot_id.random_checkpoints import random_adapter_file
from slotid_core.toy_world.random_checkpoints import DEPTH, WIDTH, CheckpointPaths, random_checkpoints

LATENT = (1, 16, 2, 8, 8)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> CheckpointPaths:
    return random_checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def text_encoder(checkpoints, pack_module):
    return pack_module("nodes.shared.toy_world").load_text_encoder(checkpoints.text_encoder)


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def prompt(text_encoder, text: str) -> torch.Tensor:
    return text_encoder.encode_from_tokens(text_encoder.tokenize(text))


@pytest.mark.parametrize("kind, in_channels, name", [("t2v", 16, "WAN21_T2V"), ("i2v", 36, "WAN21_I2V")])
def test_transformers_are_recognised_and_answer_the_prompt(checkpoints, text_encoder, kind, in_channels, name):
    import comfy.model_management
    import comfy.sd

    patcher = comfy.sd.load_diffusion_model(str(getattr(checkpoints, kind)))
    assert type(patcher.model.model_config).__name__ == name
    comfy.model_management.load_models_gpu([patcher])
    model, dtype = patcher.model.diffusion_model, patcher.model.get_dtype()
    assert (model.dim, model.num_layers, model.num_heads) == (256, 5, 2)
    noise = torch.randn(LATENT, generator=torch.Generator().manual_seed(0))
    picture = torch.zeros(1, in_channels - 16, *LATENT[2:])

    def velocity(text: str) -> torch.Tensor:
        with torch.inference_mode():
            latents = torch.cat([noise, picture], dim=1).to(dtype)
            context = prompt(text_encoder, text).to(dtype)
            return model(latents, torch.tensor([500.0]), context=context, transformer_options={}).float()

    one, other = velocity("a woman smiles in a kitchen"), velocity("a man on a beach")
    assert one.shape == LATENT
    assert one.isfinite().all()
    assert 1e-3 < one.std() < 100
    assert (one - other).abs().max() > 1e-4


def test_text_encoder_tells_prompts_apart_and_pads_with_zeros(text_encoder):
    one, same, other = (prompt(text_encoder, text) for text in ("a red hat", "a red hat", "a blue hat, über 東京"))
    assert one.shape == (1, 512, 4096)
    assert one.isfinite().all()
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert (one[:, -1] == 0).all()


def test_vae_is_recognised_with_wans_shapes(checkpoints):
    import comfy.sd
    import comfy.utils

    vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(checkpoints.vae), safe_load=True))
    frames = torch.rand(5, 64, 48, 3, generator=torch.Generator().manual_seed(0))
    latents = vae.encode(frames)
    assert latents.shape == (1, 16, 2, 8, 6)
    decoded = vae.decode(latents)
    assert decoded.shape == (1, 5, 64, 48, 3)
    assert decoded.isfinite().all()


def make_all(folder) -> dict:
    made = random_checkpoints(folder)
    files = {name: getattr(made, name) for name in ("t2v", "i2v", "vae", "text_encoder")}
    return files | {"adapter": random_adapter_file(folder, WIDTH, DEPTH)}


def test_they_are_made_once_and_are_the_same_for_everybody(tmp_path_factory):
    folder, other = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    first = make_all(folder)
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    again = make_all(other)
    assert torch.equal(torch.random.get_rng_state(), before)
    for name in first:
        assert digest(first[name]) == digest(again[name]), name
    stamps = [path.stat().st_mtime_ns for path in other.iterdir()]
    make_all(other)
    assert [path.stat().st_mtime_ns for path in other.iterdir()] == stamps
    assert len(stamps) == 5  # nothing half-written lies beside them
