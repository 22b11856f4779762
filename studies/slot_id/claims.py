"""What the paper claims, and what the controls ask, as differences between two rows of the plan."""

from dataclasses import dataclass

from slotid_core.toy_world.person import DYNAMICS

MOVES = tuple(f"dynamics.{factor}" for factor in DYNAMICS)
IDENTITY = ("similarity",)
RECOGNITION = ("similarity", "rank1")


@dataclass(frozen=True)
class Claim:
    """Metric(`better`) - metric(`worse`) is above 0. A claim about movement has a verdict for each factor; any other is
    held if it is for each of its metrics.
    """

    statement: str
    better: str
    worse: str
    metrics: tuple[str, ...] = IDENTITY

    @property
    def by_factor(self) -> bool:
        return self.metrics == MOVES


AS_SHIPPED_NAME = "as shipped"
AS_TRAINED = "cosine over the steps, as trained"
POOLED = "slots third, 3D convolutions, pooled"

CLAIMS = (
    Claim("Sinkhorn routing is better than softmax", "slots third", "slots third, softmax routing", RECOGNITION),
    Claim("Slots are better than pooled 3D convolutions", "slots third", POOLED, RECOGNITION),
    Claim("Slots convey more movement than pooled 3D convolutions", "slots third", POOLED, MOVES),
    Claim("Slots are better than the mean of the latents", "slots", "mean_latent", RECOGNITION),
    Claim("Temporal differences improve similarity", "slots third", "slots third, no temporal differences"),
    Claim(
        "Temporal differences improve dynamics", "movement third", "movement third, no temporal differences", MOVES
    ),
    Claim("Clip and portrait together are better than the clip alone", "full", "slots"),
    Claim("Clip and portrait together are better than the portrait alone", "full", "anchor"),
    Claim("Clip and portrait together are better than words", "full", "described", RECOGNITION),
    Claim("A gate that depends on the noise level is better than a constant gate", "full third", "gate constant"),
    Claim("At test time, the gate used in training is better than a constant gate", AS_TRAINED, AS_SHIPPED_NAME),
    Claim("A clip conveys identity better than a portrait", "slots", "anchor", RECOGNITION),
    Claim("A clip improves dynamics over a portrait alone", "full", "anchor", MOVES),
    Claim(
        "With the movement objective, a clip improves dynamics over a portrait alone",
        "movement objective",
        "anchor",
        MOVES,
    ),
    Claim("A clip conveys marks that the portrait hides", "full", "anchor", ("marks",)),
    Claim("Training on frames in order improves dynamics", "movement third", "movement third, frames shuffled", MOVES),
    Claim("At test time, a clip improves dynamics over a single frame", AS_SHIPPED_NAME, "1 frames", MOVES),
    Claim("At test time, frames in order improve dynamics", AS_SHIPPED_NAME, "shuffled", MOVES),
    Claim("At test time, latent frames in order improve dynamics", AS_SHIPPED_NAME, "latent frames shuffled", MOVES),
    Claim("The clip adds likeness to the portrait", AS_SHIPPED_NAME, "clip stream zeroed", RECOGNITION),
    Claim("The portrait adds likeness to the clip", AS_SHIPPED_NAME, "portrait stream zeroed", RECOGNITION),
    Claim("Beside the portrait, the clip must be the person's own", AS_SHIPPED_NAME, "mismatched clip", RECOGNITION),
)  # fmt: skip
CLAIMED = frozenset(name for claim in CLAIMS for name in (claim.better, claim.worse))  # rows that a claim rests on
