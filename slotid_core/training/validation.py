"""Held-out loss with fixed noise: with the person, without a person, and with a mismatched reference.

A reference that is read makes the first smaller than the other two, long before a picture shows it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import SlotIDError
from ..systems.contract import Batch, Strategy
from .batches import Samples, collate, given_tensors
from .config import Pairing
from .noise import NoiseLevels
from .processes import Processes

SEED = 1_000_003
LEVELS = 8  # noise levels at which is validated
OWN = "validation_loss"


@dataclass(frozen=True)
class Check:
    """Held-out samples, and the same with the reference of another person each."""

    batch: Batch
    mismatched: Batch

    def __len__(self) -> int:
        return len(self.batch)


def validation_checks(
    data: Samples,
    count: int,
    size: int,
    strategy: Strategy,
    pairing: Pairing,
    processes: Processes | None = None,
    levels: NoiseLevels | None = None,
) -> list[Check]:
    """`count` samples in batches of `size`, the same ones with the same noise and reference at every call; this
    process's share if there are several.

    Args:
        levels: with two experts, none of whose noise levels share a batch.

    Raises:
        SlotIDError: the data shows one person, so that nothing can be mismatched.
    """
    team, teams = (processes.team, processes.teams) if processes else (0, 1)
    count = min(count, len(data.samples)) // teams * teams
    chosen = [int(i) for i in torch.linspace(0, len(data.samples) - 1, max(2, count)).round().long()][:count]
    rows, mismatched = [], []
    # Processes that take turns with experts must take the same ones.
    turns = teams if levels is not None and levels.boundary else 1
    for place, index in list(enumerate(chosen))[team::teams]:
        given = given_tensors(strategy.model)
        sample = data.read(index, ("video", "text", *getattr(strategy, "target_tensors", ()), *given))
        own = data.partner(index, np.random.default_rng(SEED + place), same_clip=pairing == "same clip")
        generator = torch.Generator().manual_seed(SEED + place)
        rows.append(
            {
                **sample,
                **data.read(own, strategy.required_tensors),
                "noise": torch.randn(sample["video"].shape, generator=generator),
                "noise_level": torch.tensor(checked_level(place // turns)),
                "has_identity": torch.tensor(1.0),
                **strategy.undisturbed(),
            }
        )
        other = data.read(another_person(data, index), strategy.required_tensors) if strategy.required_tensors else {}
        mismatched.append(rows[-1] | other)
    alone = [0] * len(rows) if levels is None else [levels.expert_of(float(row["noise_level"])) for row in rows]
    kinds = [[n for n, expert in enumerate(alone) if expert == kind] for kind in sorted(set(alone))]
    return [
        Check(
            *(collate([part[n] for n in kind[first : first + size]], strategy.text_rows) for part in (rows, mismatched))
        )
        for kind in kinds
        for first in range(0, len(kind), size)
    ]


def checked_level(place: int) -> float:
    """The noise levels of validation, in turn."""
    return (place % LEVELS + 0.5) / LEVELS


def another_person(data: Samples, index: int) -> int:
    """The next sample that shows somebody else."""
    count = len(data.samples)
    for place in range(index + 1, index + count):
        if data.samples[place % count].person != data.samples[index].person:
            return place % count
    raise SlotIDError(
        f"The validation data shows one person, {data.samples[index].person!r}, so nobody else's reference can be "
        "tried. Prepare clips of at least two people for it, or leave data.validation empty."
    )


@torch.no_grad()
def validate(
    model: nn.Module,
    checks: list[Check],
    processes: Processes,
    strategy: Strategy | None = None,
    before: Callable[[Check], None] = lambda check: None,
) -> dict[str, float]:
    """Means over all checks: the three losses, what the strategy measured beside its own, and the first loss at each
    noise level.

    Args:
        strategy: which `model` holds; where it reads no reference, only the first loss is taken.
        before: called before each check, such as to put its expert in place.
    """
    reads_nobody = strategy is not None and not strategy.required_tensors
    sums: dict[str, Tensor] = {}
    by_level = torch.zeros(2, LEVELS, device=processes.device)  # sums and counts
    model.eval()
    for check in checks:
        before(check)
        nobody = replace(check.batch, has_identity=torch.zeros_like(check.batch.has_identity))
        variants = {OWN: check.batch, f"{OWN}_without_identity": nobody, f"{OWN}_mismatched": check.mismatched}
        for name, variant in variants.items():
            if name != OWN and reads_nobody:
                continue
            measured = {name: model(variant.to(processes.device))}
            if name == OWN:
                places = (variant.noise_level * LEVELS).long().to(processes.device)
                by_level[0].index_add_(0, places, measured[OWN].float())
                by_level[1].index_add_(0, places, torch.ones_like(measured[OWN], dtype=torch.float32))
                measured |= {f"validation_{key}": value for key, value in getattr(strategy, "figures", {}).items()}
            for key, value in measured.items():
                sums[key] = sums.get(key, 0.0) + value.sum()
    model.train()
    means = processes.mean(torch.stack(list(sums.values())) / max(1, sum(map(len, checks)))).tolist()
    levels, counts = processes.mean(by_level).tolist()
    told = {f"{OWN}_at_{checked_level(n):.2f}": levels[n] / counts[n] for n in range(LEVELS) if counts[n]}
    return dict(zip(sums, means, strict=True)) | told
