"""People joined into one: several references of one person, or two people by weight.

A component's tokens start from learned queries, so that the same token of two people stands for the same thing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import SlotIDError
from ...provenance import joined
from .person import Person


def mixed(first: Person, second: Person, weight: float) -> Person:
    """From `first` at 0 to `second` at 1, exactly so at the ends.

    A component that one of them alone shows is that person's, as long as their share is above 0.

    Raises:
        SlotIDError: the two come from different adapters.
    """
    if weight in (0.0, 1.0):
        check_alike([first, second])
        return (first, second)[int(weight)]
    return _averaged([first, second], (1 - weight, weight), {"mixed": [first.source, second.source], "weight": weight})


def merged(people: Sequence[Person]) -> Person:
    """The mean of people that are one person by references of their own; of each component, over those that show it.

    Raises:
        SlotIDError: as for `mixed`.
    """
    return _averaged(people, [1.0] * len(people), {"merged": [one.source for one in people]})


def _averaged(people: Sequence[Person], shares: Sequence[float], facts: dict) -> Person:
    check_alike(people)
    tokens = torch.stack([one.tokens.float() for one in people])  # (K, 1, M, L, D)
    shown = torch.stack([one.shown.float() for one in people])  # (K, 1, M)
    shares_shown = shown * torch.tensor(shares).reshape(-1, 1, 1)
    total = shares_shown.sum(0)
    mean = (tokens * _over_tokens(shares_shown)).sum(0) / _over_tokens(total.clamp(min=torch.finfo().tiny))
    source = facts | joined([one.source for one in people])
    return Person(mean.to(people[0].tokens), (total > 0).float(), people[0].adapter_fingerprint, source)


def _over_tokens(values: Tensor) -> Tensor:
    return values[..., None, None]


def check_alike(people: Sequence[Person]) -> None:
    """
    Raises:
        SlotIDError: people of whom no mean has a meaning.
    """
    first = people[0]
    for other in people[1:]:
        if other.adapter_fingerprint != first.adapter_fingerprint or other.tokens.shape != first.tokens.shape:
            raise SlotIDError(
                f"The people come from adapters {first.adapter_fingerprint or 'unknown'} and "
                f"{other.adapter_fingerprint or 'unknown'}. Encode both with the same adapter."
            )
