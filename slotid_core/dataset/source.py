"""What a kind of clips gives to preparation."""

from collections.abc import Callable
from typing import Protocol

from ..reference.faces.detector import Detector
from .clip import Clip
from .pixels import Pixels

Window = Callable[[], Pixels]


class Source(Protocol):
    """A kind of clips."""

    # Whether several clips in a row may have the very same face clip and portrait.
    shares_faces: bool

    @property
    def detector(self) -> Detector | None:
        """Finds faces in its clips; None where their places are known."""
        ...

    def windows(self, clip: Clip) -> list[Window]:
        """Functions that make the pictures of one window each, so that one is in memory at a time."""
        ...
