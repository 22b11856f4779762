"""The people on whom rows are measured: one set to choose defaults on, another to report on."""

from dataclasses import dataclass
from typing import Literal

Scenes = Literal["balanced", "random"]


@dataclass(frozen=True)
class People:
    """A set of held-out people, each in `prompts` scenes.

    Attributes:
        name: as the page and the folder of the row files have it.
        seed: sets of different seeds share nobody.
        scenes: "balanced" over the actions that show movement. "random" is how row files of an earlier release were
            made: random actions, and the last one to look around.
    """

    name: str
    seed: int
    count: int
    prompts: int = 4
    scenes: Scenes = "balanced"

    @property
    def facts(self) -> dict:
        return {"people": self.count, "prompts": self.prompts, "seed": self.seed, "scenes": self.scenes}


REPORTED, DEVELOPMENT, EARLIER = "reported", "development", "earlier"
REPORTED_SEED, DEVELOPMENT_SEED = 20, 0


def sets_of(count: int, reported: int, development: int) -> dict[str, People]:
    """By name. Earlier releases had the people of seed 0, on whom they also chose the defaults."""
    sets = (
        People(REPORTED, reported, count),
        People(DEVELOPMENT, development, count),
        People(EARLIER, 0, count, prompts=3, scenes="random"),
    )
    return {people.name: people for people in sets}
