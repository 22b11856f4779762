"""Both ways of computing attention give one answer, forward and backward."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from proof import examples
from typed import present

from slotid_core.wan.attention import SHORT, dot_product_attention


def inputs(queries: int, keys: int, width: int, with_bias: bool, seed: int):
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(2, 3, count, width, generator=generator) for count in (queries, keys, keys))
    bias = torch.randn(1, 1, 1, keys, generator=generator) if with_bias else None
    return [tensor.bfloat16().requires_grad_() for tensor in (q, k, v)], None if bias is None else bias.bfloat16()


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(1, 40), st.integers(1, 60), st.sampled_from([16, 64]), st.booleans(), st.integers(0, 99))
def test_products_in_bfloat16_equal_the_kernel_in_float32(queries, keys, width, with_bias, seed):
    ours, bias = inputs(queries, keys, width, with_bias, seed)
    exact = [tensor.detach().float().requires_grad_() for tensor in ours]
    q, k, v = ours
    out = dot_product_attention(q, k, v, bias)
    expected = F.scaled_dot_product_attention(*exact, attn_mask=None if bias is None else bias.float())
    assert out.dtype == torch.bfloat16
    assert torch.allclose(out.float(), expected, atol=0.05)
    out.float().square().sum().backward()
    expected.square().sum().backward()
    for got, right in zip(ours, exact, strict=True):
        gradient, exact_one = present(got.grad).float(), present(right.grad)
        assert (gradient - exact_one).abs().max() < 0.05 * exact_one.abs().max() + 0.05


@pytest.mark.parametrize(("dtype", "keys"), [(torch.float32, 20), (torch.bfloat16, SHORT + 1)])
def test_elsewhere_it_is_the_kernel_to_the_bit(dtype, keys):
    queries_keys_values, bias = inputs(5, keys, 16, True, 0)
    q, k, v, bias = (tensor.detach().to(dtype) for tensor in (*queries_keys_values, present(bias)))
    q.requires_grad_()
    assert torch.equal(dot_product_attention(q, k, v, bias), F.scaled_dot_product_attention(q, k, v, attn_mask=bias))


def test_without_gradients_it_is_the_kernel_to_the_bit():
    (q, k, v), bias = inputs(5, 20, 16, True, 0)
    with torch.no_grad():
        kernel = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        assert torch.equal(dot_product_attention(q, k, v, bias), kernel)
    frozen = [tensor.detach() for tensor in (q, k, v)]
    assert torch.equal(dot_product_attention(*frozen, bias), kernel)
