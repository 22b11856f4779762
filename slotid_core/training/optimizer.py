"""The optimiser over what trains, and its learning rate by step."""

import math

from torch import nn
from torch.optim import Optimizer

from ..errors import SlotIDError
from ..systems.contract import Strategy
from .config import OptimizerConfig
from .optimizer_kinds import SCHEDULE_FREE, build


def trainable(strategy: nn.Module) -> dict[str, nn.Parameter]:
    """What learns, by name; the same order everywhere."""
    return {name: parameter for name, parameter in strategy.named_parameters() if parameter.requires_grad}


def new_optimizer(strategy: Strategy, parameters: dict[str, nn.Parameter], config: OptimizerConfig) -> Optimizer:
    """Over what trains, one group for each learning-rate factor; vectors do not decay.

    Raises:
        SlotIDError: a multiplier for a group that the system does not have, or a library that is not installed.
    """
    known = strategy.parameter_groups
    unknown = sorted(set(config.lr_multipliers) - set(known))
    if unknown:
        raise SlotIDError(f"optimizer.lr_multipliers has {unknown[0]!r}; this system has {', '.join(known)}.")
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        factor = float(config.lr_multipliers.get(strategy.parameter_group(name), 1.0))
        decay = config.weight_decay if parameter.dim() > 1 else 0.0
        groups.setdefault((factor, decay), []).append(parameter)
    return build(
        config.kind,
        [{"params": group, "factor": factor, "weight_decay": decay} for (factor, decay), group in groups.items()],
        config.learning_rate,
        (config.beta1, config.beta2),
    )


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.kind == SCHEDULE_FREE:
        return config.learning_rate
    progress = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.learning_rate * (config.final_fraction + (1 - config.final_fraction) * cosine)
