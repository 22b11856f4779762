"""Encoding in chunks gives what encoding the whole clip gives, and leaves nothing on the VAE."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from proof import examples

from slotid_core.errors import SlotIDError
from slotid_core.wan.vae import WanVAE, WanVAEConfig
from slotid_core.wan.vae_chunks import encode_in_chunks

SIDE = 16


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return WanVAE(WanVAEConfig(width=8)).eval().requires_grad_(False)


@settings(max_examples=examples(12), deadline=None)
@given(quads=st.integers(0, 7), chunk=st.integers(1, 4), seed=st.integers(0, 99))
def test_chunks_equal_the_whole(vae, quads, chunk, seed):
    pixels = torch.rand(1, 3, 4 * quads + 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    whole = vae.encode(pixels)
    assert torch.allclose(encode_in_chunks(vae, pixels, 4 * chunk * SIDE**2), whole, atol=1e-4)
    assert torch.equal(vae.encode(pixels), whole)


def test_a_length_that_does_not_fit_is_refused(vae):
    with pytest.raises(SlotIDError, match="4n"):
        encode_in_chunks(vae, torch.zeros(1, 3, 16, SIDE, SIDE), 4 * SIDE**2)


def test_hooks_are_gone_after_a_failure(vae):
    with pytest.raises(RuntimeError):
        encode_in_chunks(vae, torch.zeros(1, 4, 17, SIDE, SIDE), 4 * SIDE**2)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in vae.modules())
