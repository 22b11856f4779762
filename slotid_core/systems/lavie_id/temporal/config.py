"""Settings of a temporal module, as its file holds them."""

from dataclasses import dataclass
from typing import Annotated, Literal

from ....errors import SlotIDError
from ....ranges import Count, Layers, Range, Width, check_ranges

CHANNELS, PATCH = 16, 2  # of Wan 2.1's latents, and a side of a token
TOKEN = CHANNELS * PATCH**2
LEAST_OF_GRID = 6  # channels of a head, so that each of three axes turns a pair


@dataclass(frozen=True)
class TemporalConfig:
    """One module; the defaults are for Wan, K = 4, N = 6 and β = 0.2 as in the paper.

    Attributes:
        width, heads: of every attention. The paper's tokens are CogVideoX's, 3072 wide; ours are latents.
        layers: N, of ψ; each is self-attention and a feed-forward layer.
        chunks: K, into how many parts the frames after the first are cut where no length is asked for.
        length: latent frames of a chunk as trained, which training fills in; longer videos are then of more chunks.
            0 cuts every video into `chunks`.
        beta: the weight of the biases.
        rotary: what rotates queries and keys. "frame" is the paper's, the frame's index. "grid" adds the place in the
            frame as Wan does, also to φ; ours, as a token of latents says nothing of where it is.
    """

    width: Width = 1024
    heads: Count = 16
    layers: Layers = 6
    chunks: Count = 4
    length: Annotated[int, Range(0, 4096)] = 0
    beta: Annotated[float, Range(0, 10)] = 0.2
    rotary: Literal["frame", "grid"] = "frame"

    def __post_init__(self):
        check_ranges(self)
        if self.width % (2 * self.heads):
            raise SlotIDError(
                f"A temporal module of width {self.width} cannot have {self.heads} heads: each must be of an even "
                "number of channels. Correct width or heads."
            )
        if self.rotary == "grid" and self.head_width < LEAST_OF_GRID:
            raise SlotIDError(
                f"rotary 'grid' needs heads of at least {LEAST_OF_GRID} channels; these have {self.head_width}. Take "
                "fewer heads, or 'frame'."
            )

    @property
    def head_width(self) -> int:
        return self.width // self.heads
