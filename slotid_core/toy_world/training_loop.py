"""The loop that trains every toy model: by step, resumable to the bit, atomic, with a bar and a curve.

What a step sees is a function of (seed, step), and the learning rate of the step, so an interrupted run that resumes
gives the losses of one that was not. It is drawn on the CPU; with a GPU, steps ahead are drawn while one is learnt.
"""

import contextlib
import copy
import json
import math
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..config import changed_settings, known_settings, told
from ..errors import SlotIDError
from ..files import disk_errors, whole_file, write_text
from ..folder_lock import only_run_in
from ..interrupts import stop_signals
from ..ranges import Step, check_ranges
from ..tensor_shapes import fill
from ..weights import load_weights, naming, save_weights, with_prefix

KIND, VERSION = "toy_training", 1
DRAWERS = 8  # threads that draw ahead for a GPU; for a CPU one, as texts take a third of a step

Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class CheckpointHeader:
    """What every checkpoint says."""

    step: Step

    __post_init__ = check_ranges


@dataclass(frozen=True)
class Schedule:
    """Warm-up, then a cosine from `learning_rate` to its `final_fraction`."""

    steps: int
    learning_rate: float
    warmup: int = 100
    final_fraction: float = 0.05

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        return self.learning_rate * (self.final_fraction + (1 - self.final_fraction) * cosine)


def train(
    name: str,
    module: nn.Module,
    draw: Callable[[int], Batch],
    loss_of: Callable[..., tuple[Tensor, dict[str, float]]],
    schedule: Schedule,
    folder: Path,
    save_every: int = 200,
    weight_decay: float = 0.0,
    average: float = 0.0,
    device: torch.device | str = "cpu",
) -> None:
    """Train `module` in place to `schedule.steps`, from the last checkpoint in `folder` if there is one.

    Args:
        draw: what a step sees, tensors on the CPU; everything random in it comes from generators seeded with the step.
        loss_of: called with the step and those tensors on `device`; gives the loss, and figures to log.
        average: decay of a moving average of the weights, which `load_trained` then gives; 0 keeps none.

    Raises:
        SlotIDError: another run trains this in `folder`, or the disk is full.
    """
    # Parts may be trained side by side in one folder: their files have other names.
    with only_run_in(folder, name), disk_errors(folder, only_full=True):
        _train(name, module, draw, loss_of, schedule, folder, save_every, weight_decay, average, torch.device(device))


def _train(
    name: str,
    module: nn.Module,
    draw: Callable[[int], Batch],
    loss_of: Callable[..., tuple[Tensor, dict[str, float]]],
    schedule: Schedule,
    folder: Path,
    save_every: int,
    weight_decay: float,
    average: float,
    device: torch.device,
) -> None:
    ahead = 1 if device.type == "cpu" else DRAWERS
    module.to(device)
    optimizer = torch.optim.AdamW(module.parameters(), betas=(0.9, 0.99), weight_decay=weight_decay)
    checkpoint, log = folder / f"{name}.safetensors", folder / f"{name}.jsonl"
    ema = copy.deepcopy(module).requires_grad_(False) if average else None
    settings = asdict(schedule) | {"weight_decay": weight_decay, "average": average}
    step = resume(checkpoint, log, module, optimizer, ema, settings) if checkpoint.exists() else 0

    with (
        stop_signals() as stopping,
        tqdm(total=schedule.steps, initial=step, desc=name, mininterval=5, smoothing=0.02) as bar,
        log.open("a") as lines,
        contextlib.closing(drawn(draw, step, schedule.steps, device, ahead)) as batches,
    ):
        while step < schedule.steps and not stopping:
            for group in optimizer.param_groups:
                group["lr"] = schedule(step)
            loss, figures = loss_of(step, *next(batches))
            if not torch.isfinite(loss):
                raise RuntimeError(f"{name}: the loss is {loss.item()} at step {step}; the last checkpoint is good.")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            if ema is not None:
                for slow, fast in zip(ema.parameters(), module.parameters(), strict=True):
                    slow.lerp_(fast.detach(), 1 - min(average, (step + 1) / (step + 10)))
            lines.write(json.dumps({"step": step, "loss": loss.item(), **figures}) + "\n")
            step += 1
            bar.update()
            bar.set_postfix({"loss": f"{loss.item():.4f}", **{key: f"{value:.2f}" for key, value in figures.items()}})
            if step % save_every == 0 or step == schedule.steps or stopping:
                lines.flush()
                save(checkpoint, step, module, optimizer, ema, settings)
                plot(log, folder / f"{name}.png")
    if stopping:
        raise SystemExit(f"{name}: stopped at step {step} and saved; run it again to go on.")


def drawn(
    draw: Callable[[int], Batch], step: int, steps: int, device: torch.device, ahead: int = 0
) -> Generator[Batch, None, None]:
    """The batches of the steps from `step` on, on `device`; `ahead` of them are drawn by as many other threads."""
    if not ahead:
        yield from (tuple(tensor.to(device) for tensor in draw(number)) for number in range(step, steps))
        return
    with ThreadPoolExecutor(ahead) as drawers:
        coming = deque(drawers.submit(draw, number) for number in range(step, min(step + ahead, steps)))
        for number in range(step, steps):
            batch = coming.popleft().result()
            if number + ahead < steps:
                coming.append(drawers.submit(draw, number + ahead))
            yield tuple(tensor.to(device, non_blocking=True) for tensor in batch)


def save(
    path: Path, step: int, module: nn.Module, optimizer: torch.optim.Optimizer, ema: nn.Module | None, settings: dict
) -> None:
    tensors = {f"model.{key}": value for key, value in module.state_dict().items()}
    if ema is not None:
        tensors |= {f"average.{key}": value for key, value in ema.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    save_weights(path, tensors, {"kind": KIND, "version": VERSION, "step": step, "settings": settings})


def resume(
    path: Path, log: Path, module: nn.Module, optimizer: torch.optim.Optimizer, ema: nn.Module | None, settings: dict
) -> int:
    tensors, header = load_weights(path, KIND, VERSION)
    with naming(path):
        step = known_settings(CheckpointHeader, header).step
    changes = changed_settings(header.get("settings", settings), settings)  # earlier releases did not keep them
    refused = {name: (then, now) for name, (then, now) in changes.items() if name != "steps" or now < then}
    if refused:
        raise SlotIDError(
            f"The training in {path} was begun with other settings: {told(refused)}. Give those, or another --folder."
        )
    weights = with_prefix(tensors, "model.")
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise SlotIDError(
            f"{path} is of a training with other settings. Give another --folder, or delete it to start anew."
        ) from error
    if ema is not None:
        ema.load_state_dict(with_prefix(tensors, "average.") or weights)
    state = optimizer.state_dict()
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            state["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(state)
    # One line a step; a killed run may have logged more than it saved, and its last line may be cut short.
    kept = log.read_text().splitlines()[:step] if log.exists() else []
    write_text(log, "".join(line + "\n" for line in kept))
    return step


def load_trained(folder: Path, name: str, module: nn.Module) -> int:
    """Put the last checkpoint's weights into `module`, finished or not; returns the step it is of."""
    path = folder / f"{name}.safetensors"
    tensors, header = load_weights(path, KIND, VERSION)
    with naming(path):
        fill(
            module,
            with_prefix(tensors, "average.") or with_prefix(tensors, "model."),
            f"a training of {name}",
            copy=True,
        )
        return known_settings(CheckpointHeader, header).step


def plot(log: Path, picture: Path) -> None:
    """Every logged figure over steps, smoothed, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [json.loads(line) for line in log.read_text().splitlines()]
    names = [key for key in rows[-1] if key != "step"]
    figure, axes = plt.subplots(len(names), 1, figsize=(8, 2.4 * len(names)), squeeze=False, sharex=True)
    for axis, name in zip(axes[:, 0], names, strict=True):
        points = [(row["step"], row[name]) for row in rows if name in row]
        window = max(1, len(points) // 200)
        smooth = [
            sum(v for _, v in points[i : i + window]) / window for i in range(0, len(points) - window + 1, window)
        ]
        axis.plot([points[i][0] for i in range(0, len(points) - window + 1, window)], smooth)
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
    axes[-1, 0].set_xlabel("step")
    figure.tight_layout()
    try:
        with whole_file(picture) as unfinished:
            figure.savefig(unfinished, dpi=90)
    finally:
        plt.close(figure)
