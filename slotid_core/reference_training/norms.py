"""Statistics of batch norms for averaged weights, which no batch has been through."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def fit_norms(network: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """Runs pictures through the network in training mode, and takes the mean of their statistics; gives it back."""
    network.train()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.reset_running_stats()
            norm.momentum = None
    for pictures in batches:
        network(pictures)
    return network.eval()
