"""The route loss: the router's weights against what a parsing of the target's frames says (LaVieID, equation 5).

    L_route = - Σ_m y_m ⊙ log w_m

The paper's y are 0 or 1. A token of Wan covers 16 x 16 pixels and four frames, so y are shares here. Tokens that show
no component have y = 0 and do not count, unless the router has a null component for them.
"""

import torch
from einops import rearrange
from torch import Tensor


def token_targets(shares: Tensor, shown: Tensor, count: int) -> Tensor:
    """y of each token, (B, N, count), in the order of the logits; a row sums to at most 1.

    Args:
        shares: (B, 7, T, h, w), nothing of a face first, as the dataset stores them.
        shown: (B, M), components that the reference shows. What a router does not know of it cannot be asked for.
        count: M, or M + 1 with a null component, which is last.
    """
    shares = rearrange(shares, "b m t h w -> b (t h w) m")
    components = shares[..., 1:] * shown[:, None].to(shares)
    if count == shown.shape[1]:
        return components
    return torch.cat([components, shares[..., :1]], dim=2)


def route_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the tokens that count, (B,): logits and targets (B, N, M); 0 where none does.

    Each token counts as far as its targets sum to 1.
    """
    log_weights = logits.log_softmax(dim=2).masked_fill(targets == 0, 0.0)  # 0 · -inf of hidden components
    total = -(targets.to(logits) * log_weights).sum((1, 2))
    return total / targets.sum((1, 2)).to(logits).clamp(min=1e-6)
