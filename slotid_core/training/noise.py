"""Which noise levels a step draws: all of them, those of one expert of Wan 2.2, or a share of them for each row."""

from dataclasses import dataclass

import numpy as np

from ..wan.sampling import shifted

HIGH, LOW = 0, 1  # experts, in the order in which sampling meets them


@dataclass(frozen=True)
class NoiseLevels:
    """A function of seed, step and row, as all that a step draws.

    Attributes:
        shift: as `SharedObjective.timestep_shift`.
        boundary: noise level from which on the first expert predicts; 0 where one model predicts all.
        expert_steps: steps for which an expert stays.
        stratified: each row of a step draws from its own equal share of the levels; which one is drawn anew each step.
    """

    shift: float
    batch: int
    seed: int
    boundary: float = 0.0
    expert_steps: int = 1
    stratified: bool = False

    @property
    def share_of_high(self) -> float:
        """How often a level at or above the boundary is drawn."""
        return 1.0 if not self.boundary else 1 - unshifted(self.boundary, self.shift)

    def expert_of(self, noise_level: float) -> int:
        return HIGH if noise_level >= self.boundary else LOW

    def expert(self, step: int) -> int:
        """The expert that a step trains with, as often as its levels would be drawn."""
        if not self.boundary:
            return HIGH
        rng = np.random.default_rng((self.seed, 13, step // self.expert_steps))
        return HIGH if rng.random() < self.share_of_high else LOW

    def draw(self, step: int, row: int, uniform: float) -> float:
        """A noise level from a number in [0, 1)."""
        if self.stratified:
            place = np.random.default_rng((self.seed, 17, step)).permutation(self.batch)[row]
            uniform = (int(place) + uniform) / self.batch
        if self.boundary:
            low = 1 - self.share_of_high
            uniform = low + (1 - low) * uniform if self.expert(step) == HIGH else low * uniform
        return shifted(uniform, self.shift)


def unshifted(noise_level: float, shift: float) -> float:
    """The opposite of `wan.sampling.shifted`."""
    return noise_level / (shift - (shift - 1) * noise_level)
