"""Tokens of the video that something reaches, and changes of them alone."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class TokenRegion:
    """Some tokens of the video, in the order in which a block has them.

    Attributes:
        index: (n,) int64, sorted; tokens appended behind the video are never among them.
        weight: (n,) above 0, at most 1; how far each token goes to what reaches the region.
        num_tokens: of the video.
    """

    index: Tensor
    weight: Tensor
    num_tokens: int

    @functools.cached_property
    def is_hard(self) -> bool:
        """Whether every token of it goes all the way."""
        return bool((self.weight == 1).all())

    def of(self, tokens: Tensor) -> Tensor:
        """(B, N, ...) -> (B, n, ...)."""
        return tokens[:, self.index]


def blended(before: Tensor, after: Tensor, region: TokenRegion, weight: float = 1.0) -> Tensor:
    """(B, n, D) of a region, from `before` as far towards `after` as its weights say; exactly `after` at 1."""
    if region.is_hard and weight == 1:
        return after.to(before.dtype)
    amount = (weight * region.weight).to(before.dtype)[:, None]  # (n, 1)
    return torch.where(amount == 1, after.to(before.dtype), torch.lerp(before, after.to(before.dtype), amount))


def change_tokens(hidden: Tensor, region: TokenRegion, change: Callable[[Tensor], Tensor]) -> Tensor:
    """A copy of hidden (B, N, D) whose tokens in the region went through `change`, (B, n, D) -> (B, n, D)."""
    before = region.of(hidden)
    out = hidden.clone()
    out[:, region.index] = blended(before, change(before), region)
    return out


def uncovered(regions: tuple[TokenRegion | None, ...], num_tokens: int, device: torch.device) -> Tensor | None:
    """Indices of the tokens that none of the regions covers wholly; None where that is all of them."""
    if not regions:
        return None
    if None in regions:
        return torch.empty(0, dtype=torch.long, device=device)
    return _uncovered(regions, num_tokens)


@functools.lru_cache(maxsize=8)
def _uncovered(regions: tuple[TokenRegion, ...], num_tokens: int) -> Tensor | None:
    """All blocks of a pass ask the same; on a GPU each answer waits for it."""
    covered = torch.zeros(num_tokens, dtype=torch.bool, device=regions[0].index.device)
    for region in regions:
        covered[region.index[region.weight == 1]] = True
    return (~covered).nonzero().flatten() if covered.any() else None


def rows_by_pattern(patterns: Tensor) -> list[tuple[Tensor, list]]:
    """Rows of a batch that have the same pattern, patterns (B, P) -> (rows (R,) int64, pattern) for each."""
    groups: dict[tuple, list[int]] = {}
    for row, pattern in enumerate(patterns.tolist()):
        groups.setdefault(tuple(pattern), []).append(row)
    return [(torch.tensor(rows), list(pattern)) for pattern, rows in groups.items()]
