"""Half precision where it is faster: CPUs without instructions for bfloat16 take ten times as long with it.

Measured on such a CPU: a linear layer runs at a tenth of its speed in float32, a 3D convolution at a thirtieth.
"""

import functools

import torch


def fast_dtype(dtype: torch.dtype, device: torch.device | str) -> torch.dtype:
    """`dtype`, or float32 in place of a half precision that `device` computes more slowly than float32."""
    slow = torch.device(device).type == "cpu" and dtype in (torch.bfloat16, torch.float16) and not cpu_has(dtype)
    return torch.float32 if slow else dtype


def fast_autocast(device: torch.device | str, bfloat16: bool = True) -> torch.autocast:
    """Autocast to bfloat16 if `bfloat16` is asked for and `fast_dtype` keeps it; else a context that does nothing."""
    kept = fast_dtype(torch.bfloat16, device) == torch.bfloat16
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bfloat16 and kept)


@functools.cache
def cpu_has(dtype: torch.dtype) -> bool:
    """Whether oneDNN, by which PyTorch multiplies on CPUs, has kernels for this half precision here."""
    if not torch.backends.mkldnn.is_available():
        return False
    if dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.ops.mkldnn._is_mkldnn_fp16_supported()
