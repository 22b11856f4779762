"""What a training step costs by arithmetic: operations, bytes that are kept, bytes that come from the host, seconds.

Everything is counted for the backbone and what trains in its blocks, which is nearly all of a step. Encoders of
references are left out. `tests/core/test_training_cost.py` holds the counts against real steps of a small model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import SlotIDError
from ..wan import WanConfig
from .block_swap import bytes_of_a_step

TEXT_ROWS = 128  # of a long prompt; the padding behind it is one row (`WanModel`, padding_row)
# Vectors of the model's width that a block keeps of each token for its backward pass, beside its hidden layer, as
# counted in a real step: inputs of norms, q, k, v, and attention's output. In bfloat16 rotations are in float32.
KEPT = {4: 13.1, 2: 16.5}
# The same of what is alive beside it while gradients go through the feed-forward layers, beside two hidden layers ...
PASSING = 1.3
# ... or through the attention, whichever is more.
PASSING_ATTENTION = {4: 6.3, 2: 7.3}


@dataclass(frozen=True)
class GPU:
    """A GPU as its maker describes it.

    Attributes:
        gib: memory.
        teraflops: of dense bfloat16 products that are summed in float32.
        link: GB a second from pinned host memory, about 80% of PCIe's rate.
    """

    gib: float
    teraflops: float
    link: float


GPUS = {
    "rtx_3090": GPU(24, 71, 25),  # NVIDIA's GA102 whitepaper; PCIe 4
    "rtx_4090": GPU(24, 165, 25),  # NVIDIA's Ada whitepaper; PCIe 4
    "rtx_5090": GPU(32, 209, 50),  # NVIDIA's RTX Blackwell whitepaper; PCIe 5
    "a100": GPU(80, 312, 25),  # NVIDIA's A100 datasheet; PCIe 4
    "h100": GPU(80, 989, 50),  # NVIDIA's H100 datasheet, SXM; PCIe 5
}
UTILIZATION = 0.4  # share of those operations that training reaches


def gpu_named(name: str) -> GPU:
    if name not in GPUS:
        raise SlotIDError(f"There is no GPU {name!r} in the table; it has {', '.join(GPUS)}.")
    return GPUS[name]


@dataclass(frozen=True)
class Work:
    """What a step asks of the backbone.

    Attributes:
        tokens: of one sample, with what a system appends.
        trained: parameters that train inside the blocks, each of which every token meets.
        passes: times that a sample goes through the backbone forward, and backward.
        recomputes: whether blocks are computed again before they are gone through backward.
    """

    tokens: int
    trained: int = 0
    passes: tuple[float, float] = (1.0, 1.0)
    recomputes: bool = True
    text_rows: int = TEXT_ROWS


def operations(shape: WanConfig, work: Work) -> float:
    """Floating-point operations of a step's sample, two for each multiplication and addition.

    Frozen layers take one pass for the gradient of their input, trained ones a second for their own. The backward pass
    of attention has five products, one of which computes its weights again, where the forward pass has two.
    """
    n, m, d = work.tokens, work.text_rows, shape.dim
    frozen = n * (12 * d * d + 4 * d * shape.ffn_dim) + 4 * m * d * d
    attention = 4 * n * (n + m) * d
    ends = 2 * n * d * 4 * (shape.in_dim + shape.out_dim) + 2 * m * d * (shape.text_dim + d)
    blocks = shape.num_layers * (frozen + attention) + 2 * n * work.trained
    forward, backward = work.passes
    backwards = shape.num_layers * (frozen + 2.5 * attention) + 4 * n * work.trained + ends
    again = blocks if work.recomputes else 0.0
    return forward * (blocks + ends) + backward * (backwards + again)


def activation_bytes(shape: WanConfig, tokens: int, size: int, recomputes: bool) -> float:
    """The most that is alive in a step of `tokens` tokens together, beside weights; numbers have `size` bytes."""
    kept = KEPT[size] * shape.dim + shape.ffn_dim
    passing = max(PASSING * shape.dim + 2 * shape.ffn_dim, PASSING_ATTENTION[size] * shape.dim)
    blocks = kept + shape.num_layers * shape.dim if recomputes else shape.num_layers * kept
    return tokens * size * (blocks + passing)


def seconds_of_a_step(
    gpu: GPU,
    operations: float,
    block_bytes: Sequence[float],
    passes: int,
    utilization: float = UTILIZATION,
    exchanged: float = 0.0,
    ways: tuple[float, float] = (1.0, 1.0),
) -> dict[str, float]:
    """Seconds that a GPU computes and copies in a step; both at once, so the longer is the step's.

    Experts are exchanged before it.

    Args:
        operations: of all that the GPU does in a step.
        block_bytes: of each swapped block.
        passes: micro-batches that it takes.
        exchanged: bytes of experts' weights.
        ways: times that each micro-batch goes through the backbone forward, and backward.
    """
    computing = operations / (gpu.teraflops * 1e12 * utilization)
    copying = bytes_of_a_step(block_bytes, passes, ways) / (gpu.link * 1e9)
    seconds = exchanged / (gpu.link * 1e9) + max(computing, copying)
    return {"seconds_computing": computing, "seconds_copying": copying, "seconds_by_arithmetic": seconds}
