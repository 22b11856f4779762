"""Held-out loss with fixed noise: with the person, with nobody, and with somebody else as the reference.

A reference that is read makes the first smaller than the other two, long before a picture shows it.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from .batches import Batch, Samples, collate
from .processes import Processes

SEED = 1_000_003


def validation_batches(
    data: Samples, count: int, size: int, num_tokens: int, processes: Processes | None = None
) -> list[Batch]:
    """`count` samples, the same ones with the same noise at every call; this process's share if there are several."""
    rank, processes_count = (processes.rank, processes.count) if processes else (0, 1)
    count = min(count, len(data.samples)) // processes_count * processes_count
    chosen = [int(i) for i in torch.linspace(0, len(data.samples) - 1, max(2, count)).round().long()][:count]
    rows = []
    for place, index in enumerate(chosen):
        sample = data.read(index)
        generator = torch.Generator().manual_seed(SEED + place)
        rows.append(
            {
                "video": sample["video"],
                "reference": sample["reference"],
                "portrait": sample["portrait"],
                "text": sample["text"],
                "noise": torch.randn(sample["video"].shape, generator=generator),
                "noise_level": torch.tensor((place % 8 + 0.5) / 8),  # every level equally often
                "has_identity": torch.tensor(1.0),
                "token_mask": torch.ones(num_tokens),
            }
        )
    mine = rows[rank::processes_count]
    return [collate(mine[start : start + size], num_tokens) for start in range(0, len(mine), size)]


@torch.no_grad()
def validate(model: nn.Module, batches: list[Batch], processes: Processes) -> dict[str, float]:
    sums = torch.zeros(3, device=processes.device)
    model.eval()
    for batch in batches:
        batch = batch.to(processes.device)
        nobody = replace(batch, has_identity=torch.zeros_like(batch.has_identity))
        for place, variant in enumerate((batch, nobody, with_strangers(batch))):
            sums[place] += model(variant).sum()
    model.train()
    own, without, stranger = processes.mean(sums / max(1, sum(map(len, batches)))).tolist()
    return {
        "validation_loss": own,
        "validation_loss_without_identity": without,
        "validation_loss_of_a_stranger": stranger,
    }


def with_strangers(batch: Batch) -> Batch:
    """Everybody gets their neighbour's reference."""

    def turned(values: Tensor) -> Tensor:
        return values.roll(1, dims=0)

    return replace(batch, reference=turned(batch.reference), portrait=turned(batch.portrait))
