"""Half precision where it is faster, and convolutions that are the same by whichever way they are computed."""

import pytest
import torch
import torch.nn.functional as F
from dataset_settings import drawn

from slotid_core.dataset.models import Encoders
from slotid_core.precision import cpu_has, fast_autocast, fast_dtype
from slotid_core.wan.vae import CausalConv3d, by_onednn


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_cpu_gets_a_half_precision_only_if_it_has_one(dtype):
    assert fast_dtype(dtype, "cpu") == (dtype if cpu_has(dtype) else torch.float32)
    assert fast_dtype(dtype, "cuda:0") == dtype and fast_dtype(torch.float32, "cpu") == torch.float32


@pytest.mark.parametrize("asked", [False, True])
def test_autocast_is_on_where_it_is_asked_for_and_pays(asked):
    with fast_autocast("cpu", asked):
        out = F.linear(torch.randn(3, 8), torch.randn(4, 8))
    assert out.dtype == (fast_dtype(torch.bfloat16, "cpu") if asked else torch.float32)


@pytest.mark.parametrize("shape", [(1, 6, 5, 12, 12), (1, 6, 17, 40, 40), (3, 6, 5, 8, 8)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), ((3, 1, 1), (2, 1, 1)), (1, 1)])
def test_a_convolution_by_name_is_the_ordinary_one_and_learns_as_it_does(shape, kernel, stride):
    torch.manual_seed(0)
    padding = {3: 1, 1: 0}.get(kernel, (0, 0, 0)) if isinstance(kernel, int) else 0
    conv = CausalConv3d(6, 4, kernel, stride=stride, padding=padding)
    x = torch.randn(shape)
    plain = F.pad(x, (0, 0, 0, 0, 2 * conv.padding[0], 0))
    expected = F.conv3d(plain.double(), conv.weight.double(), conv.bias.double(), conv.stride, (0, *conv.padding[1:]))
    assert torch.allclose(conv(x).double(), expected, atol=1e-5)
    wanted = torch.autograd.grad(expected.square().sum(), conv.weight)[0]
    assert torch.allclose(torch.autograd.grad(conv(x).square().sum(), conv.weight)[0], wanted, rtol=1e-3, atol=1e-2)


def test_other_precisions_stay_with_pytorch():
    assert not by_onednn(torch.zeros(1, dtype=torch.float64)) and not by_onednn(torch.zeros(1, device="meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not by_onednn(torch.zeros(1))


def test_the_text_encoder_keeps_the_precision_that_was_asked_for():
    """It is asked for to save memory, which the VAE's is not."""
    config = drawn(
        {"vae": "toy_world", "text_encoder": "toy_world"}, vae_dtype="bfloat16", text_encoder_dtype="bfloat16"
    )
    encoders = Encoders(config)
    assert encoders.text.shared.weight.dtype == torch.bfloat16
    assert encoders.vae_dtype == fast_dtype(torch.bfloat16, encoders.device)
