"""Whether weights are numbers, by their bits.

NaN and infinity have the largest exponent, so that they are the largest integers of their sign. Two maxima over a part
that stays in the processor's cache find them at the speed of memory, and nothing is allocated. `torch.isfinite` takes
several times as long.
"""

import numpy as np
import torch
from torch import Tensor

# Precision -> what its bits are read as, and the least of them, without the sign, that are no finite number.
BITS = {
    torch.float64: (torch.int64, 0x7FF0_0000_0000_0000),
    torch.float32: (torch.int32, 0x7F80_0000),
    torch.float16: (torch.int16, 0x7C00),
    torch.bfloat16: (torch.int16, 0x7F80),
    torch.float8_e5m2: (torch.int8, 0x7C),
    torch.float8_e4m3fn: (torch.int8, 0x7F),
}
PART = 2**18  # bytes


def all_finite(tensor: Tensor) -> bool:
    """Whether a tensor of any precision holds neither NaN nor infinity."""
    if not tensor.is_floating_point() or tensor.is_meta:
        return True
    if tensor.dtype not in BITS or tensor.device.type != "cpu":
        return bool(torch.isfinite(tensor.float()).all())
    kind, least = BITS[tensor.dtype]
    bits = tensor.detach().contiguous().reshape(-1).view(kind).numpy()
    sign = 1 << (8 * bits.itemsize - 1)
    step = PART // bits.itemsize
    for start in range(0, len(bits), step):
        part = bits[start : start + step]
        if part.max() >= least or part.view(_unsigned(part)).max() >= (sign | least):
            return False
    return True


def _unsigned(bits: np.ndarray) -> str:
    return f"u{bits.itemsize}"
