"""Optimisers beside AdamW, from libraries that are kept up by others and loaded when a recipe asks for them; and what a
checkpoint holds of each kind.

`adamw_8bit` keeps both moments in eight bits with a scale for each block of 256 (bitsandbytes). `schedule_free` needs
no end: the weights that are used are an average that the optimiser keeps itself, so its learning rate stays after the
warm-up (package schedulefree; arXiv 2405.15682).
"""

import importlib
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from ..errors import SlotIDError
from .config import TrainingConfig
from .processes import gather_full

ADAMW, EIGHT_BIT, SCHEDULE_FREE = "adamw", "adamw_8bit", "schedule_free"
PACKAGES = {EIGHT_BIT: "bitsandbytes", SCHEDULE_FREE: "schedulefree"}
# Of one trained parameter in float32: what the optimiser keeps.
STATE_BYTES = {ADAMW: 8.0, EIGHT_BIT: 2 + 2 * 4 / 256, SCHEDULE_FREE: 8.0}
COUNTERS = ("k", "weight_sum", "lr_max")  # that a group of schedule-free keeps
STATE, GROUP = "optimizer", "optimizer_group"  # prefixes of a checkpoint's tensors
AVERAGING = "train_mode"  # of a group of schedule-free: parameters are where gradients are taken


def build(kind: str, groups: list[dict], rate: float, betas: tuple[float, float]) -> Optimizer:
    """
    Raises:
        SlotIDError: the library is not installed.
    """
    if kind == ADAMW:
        return torch.optim.AdamW(groups, lr=rate, betas=betas)
    package = _package(kind)
    if kind == EIGHT_BIT:
        return package.optim.AdamW8bit(groups, lr=rate, betas=betas)
    optimizer = package.AdamWScheduleFree(groups, lr=rate, betas=betas)
    optimizer.train()
    return optimizer


def _package(kind: str) -> ModuleType:
    name = PACKAGES[kind]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SlotIDError(
            f'optimizer.kind is {kind!r}, which needs the package {name} ({error}). Run pip install ".[optimizers]", '
            "or set optimizer.kind to adamw."
        ) from error


def check_kind(config: TrainingConfig, processes: int) -> None:
    """
    Raises:
        SlotIDError: a setting that the optimiser cannot go with.
    """
    kind, run = config.optimizer.kind, config.run
    if kind == SCHEDULE_FREE and run.ema_decay:
        raise SlotIDError(
            f"run.ema_decay is {run.ema_decay:g}, and optimizer.kind 'schedule_free' keeps an average of its own. Set "
            "run.ema_decay to 0."
        )
    if kind == EIGHT_BIT and processes > 1 and run.distribution == "fsdp":
        raise SlotIDError(
            "optimizer.kind is 'adamw_8bit', which cannot update what run.distribution 'fsdp' has shared out. Set "
            "run.distribution to ddp, or optimizer.kind to adamw."
        )


def state_tensors(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Everything that the next step of an optimiser of these kinds depends on, by the names of the parameters."""
    tensors = {
        f"{STATE}.{key}.{name}": gather_full(value)
        for name, parameter in parameters.items()
        for key, value in optimizer.state.get(parameter, {}).items()
        if torch.is_tensor(value)
    }
    for number, group in enumerate(optimizer.param_groups):
        counters = [(key, group[key]) for key in COUNTERS if key in group]
        tensors |= {f"{GROUP}.{number}.{key}": torch.tensor(value, dtype=torch.float64) for key, value in counters}
    return tensors


def restore_state(
    optimizer: Optimizer,
    parameters: Mapping[str, nn.Parameter],
    tensors: Mapping[str, Tensor],
    step: int,
    put: Callable[[Tensor, Tensor], None],
) -> None:
    """The opposite of `state_tensors`.

    Args:
        put: writes a whole tensor into one that may be sharded.

    Raises:
        KeyError: there is nothing of this kind for a parameter.
    """
    for name, parameter in parameters.items():
        ending = f".{name}"
        found = {
            key.removeprefix(f"{STATE}.").removesuffix(ending): value
            for key, value in tensors.items()
            if key.startswith(f"{STATE}.") and key.endswith(ending) and key.count(".") == name.count(".") + 2
        }
        if not found:
            raise KeyError(f"no state of this optimizer.kind for {name}")
        state: dict = {"step": step}
        for key, value in found.items():
            if isinstance(parameter, DTensor):
                state[key] = torch.zeros_like(parameter)
                put(state[key], value)
            else:
                state[key] = value.clone().to(parameter.device)
        optimizer.state[parameter] = state
    for number, group in enumerate(optimizer.param_groups):
        for key in COUNTERS:
            if key in group:
                group[key] = type(group[key])(tensors[f"{GROUP}.{number}.{key}"].item())


@contextmanager
def averaged(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter]):
    """Within this context the parameters of a schedule-free optimiser are its average; behind it they are to the bit
    what they were, which going there and back by arithmetic does not give."""
    if AVERAGING not in optimizer.param_groups[0]:
        yield
        return
    kept = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    optimizer.eval()  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(kept[name])
        for group in optimizer.param_groups:
            group[AVERAGING] = True
