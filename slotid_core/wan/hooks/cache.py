"""Tensors that are the same in every step of a sampling run, such as keys and values of clean tokens."""

from collections.abc import Callable, Hashable

from torch import Tensor

Tensors = tuple[Tensor, ...]


class RunCache:
    """Values of one run. A new run, recognised by `start`, forgets those of the run before.

    A key names all that a value depends on, besides the run: block, row of the batch, expert, window length.
    """

    def __init__(self):
        self._run: Hashable = None
        self._values: dict[Hashable, Tensors] = {}

    def start(self, run: Hashable) -> None:
        """Forget everything unless `run` is the one that is going on."""
        if run != self._run:
            self._run = run
            self._values.clear()

    def get(self, key: Hashable, make: Callable[[], Tensors]) -> Tensors:
        """The value under `key`, made now if it is not there."""
        if key not in self._values:
            self._values[key] = make()
        return self._values[key]

    def holds(self, key: Hashable) -> bool:
        """Whether there is a value under `key`."""
        return key in self._values

    def clear(self) -> None:
        self._run = None
        self._values.clear()

    @property
    def num_bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for values in self._values.values() for tensor in values)
