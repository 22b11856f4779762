"""What both encoders return: one stream of identity evidence."""

from dataclasses import dataclass

from torch import Tensor
from torch.utils import _pytree


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


# FSDP looks for the tensors in what a module returns to know when gradients come; before PyTorch 2.11 it finds none in
# a dataclass that is not registered, and the encoders would not train.
_pytree.register_pytree_node(
    IdentityStream,
    lambda stream: ([stream.tokens, stream.global_vector, stream.assignment], None),
    lambda tensors, _: IdentityStream(*tensors),
)
