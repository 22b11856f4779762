"""Identities joined into one: several clips of one person, or two people by weight.

Slots start from learned queries, so that the same slot of two identities stands for the same thing, and a mean of them
is of the kind that the video model knows.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...errors import SlotIDError
from ...provenance import joined
from .identity import TENSORS, Identity


def mixed(first: Identity, second: Identity, weight: Tensor | float) -> Identity:
    """From `first` at 0 to `second` at 1, exactly so at the ends.

    Args:
        weight: a share, or one for each of the people (B,).

    Raises:
        SlotIDError: the two come from different adapters, or one has a stream that the other lacks.
    """
    check_alike([first, second])
    share = torch.as_tensor(weight, dtype=torch.float32)
    tensors = {}
    for name in TENSORS:
        one, other = getattr(first, name), getattr(second, name)
        tensors[name] = torch.lerp(one, other.to(one), share.to(one).reshape(-1, *[1] * (one.dim() - 1)))
    sources = [first.source, second.source]
    facts = {"mixed": sources, "weight": share.tolist(), **joined(sources)}
    return replace(first, **tensors, source={"report": report([first, second]), **facts})


def merged(people: Sequence[Identity]) -> Identity:
    """The mean of identities that show one person, each by a clip or portrait of its own.

    Raises:
        SlotIDError: as for `mixed`.
    """
    check_alike(people)
    tensors = {name: torch.stack([getattr(one, name).float() for one in people]).mean(0) for name in TENSORS}
    sources = [one.source for one in people]
    return replace(people[0], **tensors, source={"report": report(people), "merged": sources, **joined(sources)})


def report(people: Sequence[Identity]) -> str:
    """What was noted about each, for people to read."""
    noted = [str(one.source.get("report", "")) for one in people]
    return "\n\n".join(text for text in noted if text)


def check_alike(people: Sequence[Identity]) -> None:
    """
    Raises:
        SlotIDError: identities of which no mean has a meaning.
    """
    first = people[0]
    for other in people[1:]:
        if other.adapter_fingerprint != first.adapter_fingerprint:
            raise SlotIDError(
                f"The identities come from adapters {first.adapter_fingerprint or 'unknown'} and "
                f"{other.adapter_fingerprint or 'unknown'}. Encode both with the same adapter."
            )
        shapes = [{name: tuple(getattr(one, name).shape[1:]) for name in TENSORS} for one in (first, other)]
        if shapes[0] != shapes[1]:
            name = next(name for name in TENSORS if shapes[0][name] != shapes[1][name])
            raise SlotIDError(
                f"{name} has shape {shapes[0][name]} in one identity and {shapes[1][name]} in the other. Encode both "
                "from the same kinds of reference: clip and portrait, or one of them."
            )
        if (other.gate, other.gate_mode) != (first.gate, first.gate_mode):
            raise SlotIDError("The identities have different gates. Make both with the same Slot-ID Gate Schedule.")
