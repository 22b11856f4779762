"""Global identity vector to per-block scale and shift (Slot-ID, section 3.2.2: "standard FiLM modulation")."""

from einops import rearrange
from torch import Tensor, nn


class LowRankFiLM(nn.Module):
    """g (B, D_g) -> (B, blocks, 2, D): γ and β for each modulated block.

    Linear and without bias, so that blending global vectors and blending their FiLM vectors are the same thing,
    and an identity file can carry the vectors instead of this module. Low rank, because a full map is a billion
    parameters at 14B. Zero at the start, so that training departs from the base model.
    """

    def __init__(self, global_width: int, rank: int, num_blocks: int, model_width: int):
        super().__init__()
        self.num_blocks = num_blocks
        self.down = nn.Linear(global_width, rank, bias=False)
        self.up = nn.Linear(rank, num_blocks * 2 * model_width, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, global_vector: Tensor) -> Tensor:
        vectors = self.up(self.down(global_vector))
        return rearrange(vectors, "b (n two d) -> b n two d", n=self.num_blocks, two=2)
