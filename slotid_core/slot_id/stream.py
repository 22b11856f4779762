"""What both encoders return: one stream of identity evidence."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class IdentityStream:
    """Tokens at the video model's width, a global summary, and which patch spoke for which token.

    Attributes:
        tokens: (B, N, D), N slots of the clip or N anchors of the portrait.
        global_vector: (B, D_g), drives FiLM.
        assignment: (B, N, T', H', W'), sums to 1 over N at every patch.
    """

    tokens: Tensor
    global_vector: Tensor
    assignment: Tensor
