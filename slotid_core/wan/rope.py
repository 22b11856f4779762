"""Three-axis rotary position embedding, as Wan and the Temporal ID Encoder use it."""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

THETA = 10000.0


def split_axes(head_dim: int) -> tuple[int, int, int]:
    """How many of a head's channels rotate with time, height and width: a third each, the rest to time."""
    third = 2 * (head_dim // 6)
    return head_dim - 2 * third, third, third


def rotary_matrices(
    grid: Sequence[int],
    head_dim: int,
    device: torch.device | None = None,
    offset: Sequence[float] = (0, 0, 0),
    axes: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Rotation matrices for every position of a (T, H, W) grid, in row-major order.

    Args:
        axes: channels that rotate with time, height and width; `split_axes` by default.

    Returns:
        (1, T·H·W, 1, head_dim/2, 2, 2), the layout that ComfyUI's Wan passes as `pe`.
    """
    positions = torch.meshgrid(
        *(torch.arange(n, device=device, dtype=torch.float64) + start for n, start in zip(grid, offset, strict=True)),
        indexing="ij",
    )
    angles = torch.cat(
        [
            position.flatten()[:, None] * _frequencies(dim, device)
            for position, dim in zip(positions, axes or split_axes(head_dim), strict=True)
        ],
        dim=-1,
    )  # (L, head_dim/2)
    cos, sin = angles.cos(), angles.sin()
    matrices = torch.stack([cos, -sin, sin, cos], dim=-1).to(dtype)
    return rearrange(matrices, "l d (i j) -> 1 l 1 d i j", i=2, j=2)


def apply_rotary(x: Tensor, rotary: Tensor) -> Tensor:
    """Rotate neighbouring channel pairs: x (B, L, heads, head_dim) -> same shape and dtype."""
    # As complex numbers: a rotation is its first column, and the product is several times faster than by matrices.
    turn = torch.view_as_complex(rotary[..., 0].contiguous())
    pairs = torch.view_as_complex(x.to(rotary.dtype).unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(turn * pairs).flatten(-2).to(x.dtype)


def undo_rotary(x: Tensor, rotary: Tensor) -> Tensor:
    """The inverse of `apply_rotary`, which is its transpose; same shapes."""
    pairs = x.to(rotary.dtype).unflatten(-1, (-1, 2))
    out = rotary[..., 0, :] * pairs[..., 0:1]
    return out.addcmul_(rotary[..., 1, :], pairs[..., 1:2]).flatten(-2).to(x.dtype)


def _frequencies(dim: int, device) -> Tensor:
    exponent = torch.arange(0, dim, 2, device=device, dtype=torch.float64) / dim
    return 1.0 / THETA**exponent
