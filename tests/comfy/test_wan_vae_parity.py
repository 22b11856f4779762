"""Our whole-clip Wan VAE against ComfyUI's chunked one."""

import comfy.latent_formats
import pytest
import torch
from comfy.ldm.wan.vae import WanVAE as CoreVAE


@pytest.fixture(scope="module")
def pair(pack_module):
    vae = pack_module("slotid_core.wan.vae")
    torch.manual_seed(0)
    ours = vae.WanVAE(vae.WanVAEConfig(width=8)).eval()
    for parameter in ours.parameters():
        if parameter.dim() == 1 or parameter.shape[1:].numel() == 1:  # gains and biases, which start at 1 and 0
            torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.2)
    theirs = CoreVAE(8, 16, [1, 2, 4, 4], 2, [], [False, True, True]).eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert vae.WanVAEConfig.from_state_dict(theirs.state_dict()) == ours.config
    return ours, theirs, vae


@pytest.mark.parametrize("frames", [1, 5, 17])
@torch.no_grad()
def test_encode_and_decode_equal_cores(pair, frames):
    ours, theirs, _ = pair
    pixels = 2 * torch.rand(2, 3, frames, 64, 48) - 1
    latents = theirs.encode(pixels)
    assert (ours.encode(pixels) - latents).abs().max() <= 1e-5
    assert (ours.decode(3 * latents) - theirs.decode(3 * latents)).abs().max() <= 1e-5


def test_normalisation_is_cores(pair):
    _, _, vae = pair
    latents = torch.randn(1, 16, 2, 4, 4)
    normalized = vae.normalize_latents(latents)
    assert torch.allclose(normalized, comfy.latent_formats.Wan21().process_in(latents), atol=1e-6)
    assert torch.allclose(vae.denormalize_latents(normalized), latents, atol=1e-5)


def test_wrong_frame_count_is_named(pair):
    with pytest.raises(ValueError, match="got 4"):
        pair[0].encode(torch.zeros(1, 3, 4, 16, 16))
