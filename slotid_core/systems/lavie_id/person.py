"""A person for LaVieID: tokens of the components that the reference shows, kept in memory or in a file."""

import os
from dataclasses import dataclass, field

from torch import Tensor

from ...config import known_settings, shown
from ...errors import SlotIDError
from ...weights import check_finite, load_weights, naming, save_weights

KIND = "lavie_id_person"
VERSION = 1


@dataclass(frozen=True)
class PersonHeader:
    """What a person's file says beside its tensors; see `Person`."""

    adapter_fingerprint: str
    source: dict


@dataclass(frozen=True)
class Person:
    """
    Attributes:
        tokens: (1, M, L, D), as the adapter's local encoder gives them.
        shown: (1, M) 1 where the reference shows the component; tokens of the others are never read.
        adapter_fingerprint: of the adapter that made the tokens; no other one can read them.
        source: facts about the reference, for people; JSON-ready.
    """

    tokens: Tensor
    shown: Tensor
    adapter_fingerprint: str = ""
    source: dict = field(default_factory=dict)

    def __post_init__(self):
        shape = tuple(self.tokens.shape)
        fits = len(shape) == 4 and shape[0] == 1 and 0 not in shape and self.tokens.is_floating_point()
        if not fits or tuple(self.shown.shape) != shape[:2]:
            raise SlotIDError(
                "A person has tokens of shape (1, components, tokens, width), and a number for each component; got "
                f"{shape} of {self.tokens.dtype}, and {tuple(self.shown.shape)}."
            )
        if not self.shown.bool().any():
            raise SlotIDError(
                "No component of the face can be seen in the reference. Take a sharper picture in which the face is "
                "larger, or give masks."
            )

    def save(self, path: str | os.PathLike) -> None:
        tensors = {"tokens": self.tokens, "shown": self.shown.float()}
        check_finite(tensors)
        header = {
            "kind": KIND,
            "version": VERSION,
            "adapter_fingerprint": self.adapter_fingerprint,
            "source": self.source,
        }
        save_weights(path, tensors, header)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Person":
        tensors, header = load_weights(path, KIND, VERSION)
        with naming(path):
            if set(tensors) != {"tokens", "shown"}:
                raise SlotIDError(f"It lacks the tensors of a LaVieID person; it has {shown(sorted(tensors))}.")
            facts = known_settings(PersonHeader, header)
            return cls(tensors["tokens"], tensors["shown"], facts.adapter_fingerprint, facts.source)
