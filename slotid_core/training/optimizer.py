"""AdamW over what trains, and its learning rate by step."""

import math

import torch
from torch import nn

from .config import OptimizerConfig


def new_optimizer(strategy, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over what trains, one group for each learning-rate factor; vectors do not decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in strategy.trainable().items():
        decay = config.weight_decay if parameter.dim() > 1 else 0.0
        groups.setdefault((strategy.rate(name), decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": group, "factor": rate, "weight_decay": decay} for (rate, decay), group in groups.items()],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
    )


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.learning_rate * (config.final_fraction + (1 - config.final_fraction) * cosine)
