"""What kinds of samples a run has, and how packed ones are shared out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from ..errors import SlotIDError
from ..systems.contract import PackedBatch, packed
from .config import TrainingConfig


@dataclass(frozen=True)
class Mix:
    """Of what the samples of a run are, beside clips that are paired in one way.

    Attributes:
        pairs: weights by kind of pair (`config.PAIR_KINDS`); empty for the run's one pairing.
        image_steps: first steps, in which every sample is a picture: the first latent frame of its clip, which Wan's
            VAE encodes by itself.
        image_share: share of pictures among the samples of later steps.
        is_packed: samples of any sizes are packed; else a batch has one size.
        least_resemblance: cosine of face embeddings below which two clips of one person make no pair; 0 asks nobody.
        weights: how often a sample is of each folder; empty where every sample of all folders comes equally often.
    """

    pairs: Mapping[str, float] = field(default_factory=dict)
    image_steps: int = 0
    image_share: float = 0.0
    is_packed: bool = False
    least_resemblance: float = 0.0
    weights: tuple[float, ...] = ()


def mix_of(config: TrainingConfig, strategy: nn.Module) -> Mix:
    """The mix of a run.

    Raises:
        SlotIDError: the system cannot do what is asked.
    """
    run, data = config.run, config.data
    for name in ("pack_tokens", "image_steps"):
        if getattr(run, name) and not getattr(strategy, "packs", False):
            raise SlotIDError(
                f"run.{name} is {getattr(run, name)}, and {config.system} learns from videos of one size alone. Set it "
                "to 0."
            )
    if data.pairs.get("augmented") and not getattr(strategy, "augmented_tensors", {}):
        raise SlotIDError(
            f"data.pairs asks for augmented pairs, and {config.system} has none. Leave 'augmented' out of data.pairs."
        )
    pairs = {kind: float(weight) for kind, weight in data.pairs.items() if weight}
    return Mix(pairs, run.image_steps, run.image_share, bool(run.pack_tokens), data.least_resemblance, data.weights)


def cut_into(packs: Sequence[PackedBatch], count: int) -> list[PackedBatch]:
    """As many packed batches, by cutting those of most samples in two; there are at least so many samples."""
    packs = list(packs)
    while len(packs) < count:
        largest = max(range(len(packs)), key=lambda place: len(packs[place]))
        parts = packs.pop(largest).parts
        half = (len(parts) + 1) // 2
        packs += [packed(parts[:half]), packed(parts[half:])]
    return packs
