"""Which sample a run sees when: a function of the seed and the position, over one data set or several with weights."""

import math
from collections.abc import Sequence

import numpy as np

from ..errors import SlotIDError

TURN = 1024  # positions in which folders are drawn as often as their weights say


class Order:
    """
    Args:
        lengths: samples of each folder, in the order of the joined data.
        weights: of each folder, how often it is drawn; none draws every sample of all folders equally often.

    Raises:
        SlotIDError: weights that fit no folder, or are not positive.
    """

    def __init__(self, seed: int, lengths: Sequence[int], weights: Sequence[float] = ()):
        if weights and len(weights) != len(lengths):
            raise SlotIDError(
                f"data.weights has {len(weights)} numbers, and there are {len(lengths)} folders: data.train and "
                "those of data.more. Give one number for each, in that order."
            )
        if not all(math.isfinite(weight) and weight > 0 for weight in weights):
            raise SlotIDError(
                f"data.weights is {list(weights)}; every weight must be above 0. Leave a folder out instead."
            )
        self.seed, self.weights = seed, tuple(weights)
        self.lengths = tuple(lengths) if weights else (sum(lengths),)
        self.starts = (0, *np.cumsum(self.lengths)[:-1].tolist())
        self.shares = shares(weights) if weights else ()
        self._orders: dict[tuple[int, int], np.ndarray] = {}
        self._turn: tuple[int, np.ndarray] = (-1, np.empty(0))

    def index(self, position: int) -> int:
        """The sample at a position of the run. Each folder shows all its samples once, in an order of its own, before
        it shows one again."""
        folder, place = self._drawn(position) if self.weights else (0, position)
        epoch, place = divmod(place, self.lengths[folder])
        return self.starts[folder] + int(self._order(folder, epoch)[place])

    def _drawn(self, position: int) -> tuple[int, int]:
        """The folder at a position, and how many times it was drawn before."""
        turn, place = divmod(position, TURN)
        if self._turn[0] != turn:
            folders = np.repeat(np.arange(len(self.shares)), self.shares)
            self._turn = turn, np.random.default_rng((self.seed, 17, turn)).permutation(folders)
        folders = self._turn[1]
        folder = int(folders[place])
        return folder, turn * self.shares[folder] + int((folders[:place] == folder).sum())

    def _order(self, folder: int, epoch: int) -> np.ndarray:
        if (folder, epoch) not in self._orders:
            self._orders = {key: order for key, order in self._orders.items() if key[0] != folder}
            entropy = (self.seed, 7, epoch, folder) if folder else (self.seed, 7, epoch)
            self._orders[folder, epoch] = np.random.default_rng(entropy).permutation(self.lengths[folder])
        return self._orders[folder, epoch]


def shares(weights: Sequence[float]) -> tuple[int, ...]:
    """How many of `TURN` positions each folder has: at least one, and all together `TURN`."""
    exact = [TURN * weight / sum(weights) for weight in weights]
    whole = [max(1, int(count)) for count in exact]
    while sum(whole) != TURN:
        more = 1 if sum(whole) < TURN else -1
        candidates = [n for n in range(len(whole)) if whole[n] + more >= 1]
        furthest = max(candidates, key=lambda n: more * (exact[n] - whole[n]))
        whole[furthest] += more
    return tuple(whole)
