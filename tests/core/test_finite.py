"""Looking for NaN by bits agrees with PyTorch on every value of the small precisions, wherever it lies."""

import pytest
import torch

from slotid_core.finite import BITS, PART, all_finite


@pytest.mark.parametrize(
    "dtype", [dtype for dtype in BITS if dtype.itemsize <= 2], ids=lambda dtype: str(dtype).removeprefix("torch.")
)
def test_every_value_of_a_small_precision(dtype):
    half = 1 << (8 * dtype.itemsize - 1)
    values = torch.arange(-half, half).to(BITS[dtype][0]).view(dtype)
    is_finite = torch.isfinite(values.float())
    assert all_finite(values[is_finite])
    among = torch.zeros(64).to(dtype)
    for odd in values[~is_finite].unsqueeze(1):
        assert not all_finite(torch.cat([among, odd, among]))


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("place", [0, PART - 1, PART, -1])
def test_nan_at_the_edges_of_parts(dtype, place):
    tensor = torch.ones(2 * PART + 3).to(dtype)
    assert all_finite(tensor)
    wide = tensor.float()
    wide[place] = -float("nan")
    assert not all_finite(wide.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan")])
def test_large_precisions(dtype, value):
    largest = torch.tensor([torch.finfo(dtype).max, torch.finfo(dtype).min, torch.finfo(dtype).tiny, -0.0], dtype=dtype)
    assert all_finite(largest)
    assert not all_finite(torch.cat([largest, torch.tensor([value], dtype=dtype)]))


def test_what_holds_no_number_or_no_memory():
    assert all_finite(torch.zeros(0)) and all_finite(torch.tensor(1.5)) and all_finite(torch.arange(3))
    assert not all_finite(torch.tensor(float("nan")))
    assert all_finite(torch.empty(3, device="meta"))
    assert not all_finite(torch.tensor([[1.0, 2.0], [float("nan"), 4.0]]).T)
