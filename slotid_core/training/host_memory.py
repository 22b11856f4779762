"""Bytes in the host's memory from which the device copies while it computes.

PyTorch rounds each piece of pinned memory up to a power of two, which would take half as much again for a block of Wan
14B: 1,024 MiB for 670. So they lie in pieces of such sizes.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

LEAST_PIECE = 2**20  # bytes; what is left over below it is the last piece, and may be rounded up


class HostMemory:
    """A copy of `values`, (bytes,) of uint8; pinned where the device is a GPU."""

    def __init__(self, values: Tensor, pinned: bool, least: int = LEAST_PIECE):
        self.pieces = []
        for part in values.split(list(piece_sizes(len(values), least))):
            piece = torch.empty(len(part), dtype=torch.uint8, pin_memory=pinned)
            self.pieces.append(piece.copy_(part))

    def __len__(self) -> int:
        """In bytes."""
        return sum(map(len, self.pieces))

    def copy_to(self, place: Tensor) -> None:
        """Into (bytes,) of uint8; from pinned memory this returns before it is done."""
        parts = place.split([len(piece) for piece in self.pieces])
        for part, piece in zip(parts, self.pieces, strict=True):
            part.copy_(piece, non_blocking=True)


def piece_sizes(length: int, least: int = LEAST_PIECE) -> Iterator[int]:
    """Powers of two, the largest first, and what is left over."""
    while length >= least:
        piece = 1 << (length.bit_length() - 1)
        yield piece
        length -= piece
    if length:
        yield length
