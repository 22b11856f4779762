"""One sample's tokens over several processes (DeepSpeed-Ulysses, arXiv 2309.14509).

Each process holds some of the tokens. For self-attention they exchange: each gets all tokens of some of the heads, and
back. What else a block does to a token needs that token alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch.distributed as dist
from einops import rearrange
from torch import Tensor
from torch.distributed._functional_collectives import all_to_all_single_autograd

from .packing import SHARED_KEY

SEQUENCE = "sequence"
# q, k, v (B, N, H·d) and H -> (B, N, H·d)
Attend = Callable[[Tensor, Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class SequenceGroup:
    """The processes that share sequences: a group of `count`, of which this one is number `rank`."""

    processes: dist.ProcessGroup
    rank: int
    count: int

    def of(self, total: int) -> "SharedSequence":
        """A sequence of `total` tokens; the first processes hold one more where it cannot be shared evenly."""
        least, more = divmod(total, self.count)
        return SharedSequence(self, tuple(least + (rank < more) for rank in range(self.count)))


@dataclass(frozen=True)
class SharedSequence:
    """How many tokens each process of a group holds, in their order."""

    group: SequenceGroup
    lengths: tuple[int, ...]

    @property
    def own_length(self) -> int:
        return self.lengths[self.group.rank]

    def own(self, tokens: Tensor) -> Tensor:
        """This process's part of (B, N, ...)."""
        return tokens.split(self.lengths, dim=1)[self.group.rank]

    def whole(self, own: Tensor) -> Tensor:
        """The parts of all processes (B, n, ...) -> (B, N, ...).

        Its gradient is the sum over processes, so that the mean which training takes over all processes is right.
        """
        count = self.group.count
        sent = own.transpose(0, 1).repeat(count, *[1] * (own.dim() - 1))  # (count·n, B, ...)
        return self._exchange(sent, [self.own_length] * count, self.lengths).transpose(0, 1)

    def attend(self, attend: Attend, q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        """Attention of every token to every token; q, k, v and the result are (B, n, H·d), this process's part."""
        count = self.group.count
        q, k, v = (self._to_heads(t) for t in (q, k, v))
        out = attend(q, k, v, heads // count).transpose(0, 1)  # (N, B, H·d / count)
        parts = self._exchange(out, self.lengths, [self.own_length] * count)
        return rearrange(parts, "(p n) b d -> b n (p d)", p=count)

    def _to_heads(self, own: Tensor) -> Tensor:
        """(B, n, H·d) -> (B, N, H·d / count), all tokens of this process's heads."""
        count = self.group.count
        sent = rearrange(own, "b n (p d) -> (p n) b d", p=count)
        return self._exchange(sent, [self.own_length] * count, self.lengths).transpose(0, 1)

    def _exchange(self, sent: Tensor, to: Sequence[int], from_: Sequence[int]) -> Tensor:
        """Rows of `sent`, so many to each process -> rows of all processes, so many from each."""
        return all_to_all_single_autograd(sent.contiguous(), list(from_), list(to), self.group.processes)


def sharing(options: dict, sequence: SharedSequence) -> dict:
    """A copy of `transformer_options` that notes a shared sequence."""
    return {**options, SHARED_KEY: {**options.get(SHARED_KEY, {}), SEQUENCE: sequence}}


def sequence_of(options: Mapping) -> SharedSequence | None:
    """The shared sequence of the pass that these options belong to; None where a process has it whole."""
    return options.get(SHARED_KEY, {}).get(SEQUENCE)
