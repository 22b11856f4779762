"""Scaled dot-product attention, by whichever way the device computes it faster."""

import torch
import torch.nn.functional as F
from torch import Tensor

SHORT = 512  # keys up to which products win


def dot_product_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """q (B, H, N, d), k and v (B, H, M, d), bias that broadcasts to (B, H, N, M) -> (B, H, N, d).

    PyTorch's kernel for CPUs is slow backward in bfloat16 on short sequences: plain products take a sixth to a half of
    its time there, and the toy world is trained there. Forward alone the kernel is the faster one.
    """
    is_trained = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    if not is_trained or q.device.type != "cpu" or q.dtype != torch.bfloat16 or k.shape[2] > SHORT:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    logits = (q * q.shape[3] ** -0.5) @ k.transpose(2, 3)
    if bias is not None:
        logits = logits + bias
    return logits.softmax(3, dtype=torch.float32).to(v.dtype) @ v
