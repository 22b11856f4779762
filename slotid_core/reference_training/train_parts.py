"""Training of the parts network on keyed portraits and drawn heads."""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..precision import fast_autocast
from ..reference.portrait.parts import KIND, NAMES, VERSION, PartsNetwork, load_parts
from ..toy_world.training_loop import Schedule, load_trained, train
from ..weights import save_weights
from .compose import draw_batch
from .drawn_heads import DrawnHeads, drawn_heads
from .norms import fit_norms
from .portraits import UNKNOWN, Portraits, people_in, read_portraits

EDGE_WEIGHT = 4.0  # of pixels near the person's edge
# Of the parts' pixels: eyes and brows are few.
PART_WEIGHTS = (1.0, 3.0, 6.0, 3.0, 2.0, 1.0, 1.0)


@dataclass(frozen=True)
class PartsTraining:
    """`photographs`: the folder of portraits. `shipped`: go on from the network that ships, not from random weights."""

    heads: int = 4096
    steps: int = 4000
    batch: int = 12
    learning_rate: float = 2e-3
    photographs: str = ""
    shipped: bool = False
    save_every: int = 200


def train_parts(folder: Path, config: PartsTraining, device: str = "cpu") -> None:
    torch.manual_seed(0)
    network = PartsNetwork()
    if config.shipped:
        network.load_state_dict(load_parts().state_dict())
    portraits, heads = material(folder, config)

    def loss_of(step: int, pictures: Tensor, alpha: Tensor, parts: Tensor):
        with fast_autocast(device):
            logits = network(pictures.to(memory_format=torch.channels_last))
        return parts_loss(logits.float(), alpha, parts)

    schedule = Schedule(config.steps, config.learning_rate, warmup=100)
    train(
        "parts", network, lambda step: draw_batch(step, config.batch, portraits, heads), loss_of, schedule, folder,
        config.save_every, weight_decay=1e-3, average=0.995, device=device,
    )  # fmt: skip


def finish_parts(folder: Path, path: Path, config: PartsTraining) -> dict[str, float]:
    """Write the network's file, and say how well it does on people whom it has not seen."""
    portraits, heads = material(folder, config)
    network = PartsNetwork()
    steps = load_trained(folder, "parts", network)
    fit_norms(network, (draw_batch(6_000_000 + step, 12, portraits, heads)[0] for step in range(60)))
    unseen = read_portraits(
        Path(config.photographs), people_in(Path(config.photographs))[1], folder / "unseen.safetensors"
    )
    figures = evaluate_parts(network, unseen, heads)
    half = {name: t.half() if t.is_floating_point() else t for name, t in network.state_dict().items()}
    save_weights(path, half, {"kind": KIND, "version": VERSION, "steps": steps, "metrics": figures})
    return figures


def material(folder: Path, config: PartsTraining) -> tuple[Portraits, DrawnHeads]:
    learnt, _ = people_in(Path(config.photographs))
    folder.mkdir(parents=True, exist_ok=True)
    portraits = read_portraits(Path(config.photographs), learnt, folder / "portraits.safetensors")
    return portraits, drawn_heads(folder, config.heads)


def parts_loss(logits: Tensor, alpha: Tensor, parts: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Cross-entropy and L1 of alpha, heavier along its edge, and cross-entropy of the parts where they are known."""
    spread = F.max_pool2d(alpha[:, None], 9, 1, 4) + F.max_pool2d(-alpha[:, None], 9, 1, 4)
    weight = 1 + (EDGE_WEIGHT - 1) * spread[:, 0]
    told = logits[:, 0]
    cross = F.binary_cross_entropy_with_logits(told, alpha, weight=weight)
    away = (weight * (told.sigmoid() - alpha).abs()).mean()
    known = torch.where(parts == UNKNOWN, -100, parts.long())
    share = F.cross_entropy(logits[:, 1:], known, weight=logits.new_tensor(PART_WEIGHTS))
    return cross + 2 * away + 0.5 * share, {"alpha": away.item(), "parts": share.item()}


@torch.no_grad()
def evaluate_parts(network: PartsNetwork, unseen: Portraits, heads: DrawnHeads, batches: int = 20) -> dict[str, float]:
    """IoU of the person and of each part on people that are not learnt from, composed as in training."""
    shared = torch.zeros(8)
    either = torch.zeros(8)
    for step in range(batches):
        pictures, alpha, parts = draw_batch(7_000_000 + step, 12, unseen, heads)
        logits = network(pictures)
        found, person = logits[:, 0] > 0, alpha > 0.5
        shared[0] += (found & person).sum()
        either[0] += (found | person).sum()
        named, known = logits[:, 1:].argmax(1), parts != UNKNOWN
        for part in range(7):
            mine, true = (named == part) & known, parts == part
            shared[part + 1] += (mine & true).sum()
            either[part + 1] += (mine | true).sum()
    return dict(zip(("person", *NAMES), (shared / either.clamp(min=1)).tolist(), strict=True))
