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


@torch.inference_mode()
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
    assert normalized.std((0, 2, 3, 4)).min() > 0.6 and normalized.std((0, 2, 3, 4)).max() < 1.5


@pytest.mark.slow
@torch.inference_mode()
def test_64_held_out_clips_come_back_at_30_decibels_with_wan_statistics(toy, pack_module):
    vae, manifest = toy
    evaluate, render = pack_module("slotid_core.toy_world.evaluate"), pack_module("slotid_core.toy_world.render")
    decibels = []
    for person, scene in zip(*evaluate.held_out(0, 64), strict=True):
        clip = render.render_clip(person, scene)
        rebuilt = vae.decode(vae.encode(clip))[0].float().cpu()
        decibels.append(-10 * torch.log10((rebuilt.clamp(0, 1) - clip).square().mean()))
    mean = torch.stack(decibels).mean().item()
    print(f"\ntoy world: {mean:.2f} dB over 64 held-out clips, the worst {min(decibels).item():.2f}")
    assert mean > 30 and mean == pytest.approx(manifest["metrics"]["vae_psnr"], abs=0.1)

    # As many of every action, place and outfit: the mean of a latent depends most on what is in the scene.
    first = evaluate.HELD_OUT_FROM + 3 * evaluate.PER_SEED
    people, scenes = evaluate.balanced(first, 216)
    clips = (render.render_clip(*pair) for pair in zip(people, scenes, strict=True))
    latents = torch.cat([vae.encode(clip) for clip in clips]).float().cpu()
    normalized = comfy.latent_formats.Wan21().process_in(latents)
    mean_error, std = normalized.mean((0, 2, 3, 4)).abs().max(), normalized.std((0, 2, 3, 4))
    print(f"worst channel: mean {mean_error:.3f} of Wan's standard deviation away, std {(std - 1).abs().max():.3f}")
    assert mean_error < 0.05 and (std - 1).abs().max() < 0.05
