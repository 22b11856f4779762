"""The shipped toy VAE through ComfyUI's own loader: as good as its manifest says, and with Wan's latent statistics."""

import json

import comfy.latent_formats
import comfy.sd
import comfy.utils
import pytest
import torch

CLIPS = 6


@pytest.fixture(scope="module")
def toy(pack_module):
    family = pack_module("slotid_core.toy_world.family")
    if not family.has_part("vae"):
        pytest.skip("the toy world's VAE has not been trained yet")
    path = family.WEIGHTS / "vae.safetensors"
    return comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(path), safe_load=True)), json.loads(
        path.with_suffix(".json").read_text()
    )


def test_it_rebuilds_held_out_clips_as_the_manifest_says(toy, pack_module):
    vae, manifest = toy
    evaluate, render = pack_module("slotid_core.toy_world.evaluate"), pack_module("slotid_core.toy_world.render")
    decibels, latents = [], []
    for person, scene in zip(*evaluate.held_out(0, CLIPS), strict=True):
        clip = render.render_clip(person, scene)
        latents.append(vae.encode(clip))
        rebuilt = vae.decode(latents[-1])[0].float().cpu()
        assert latents[-1].shape == (1, 16, 5, 8, 8) and rebuilt.shape == clip.shape
        decibels.append(-10 * torch.log10((rebuilt.clamp(0, 1) - clip).square().mean()))
    assert torch.stack(decibels).mean() > manifest["metrics"]["vae_psnr"] - 1.5

    normalized = comfy.latent_formats.Wan21().process_in(torch.cat(latents).float().cpu())
    assert normalized.mean((0, 2, 3, 4)).abs().max() < 0.5  # six clips tell a mean only roughly
    assert 0.6 < normalized.std((0, 2, 3, 4)).min() and normalized.std((0, 2, 3, 4)).max() < 1.5
