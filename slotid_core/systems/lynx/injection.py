"""How Lynx enters a Wan transformer: attention branches, added to a block's own attention before its output layer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ...wan.hooks.attention import AttentionBranch, BlockBranches, WeightedBranch, add_branches
from ...wan.hooks.blocks import Transformer
from ...wan.hooks.regions import TokenRegion
from ...wan.model import SELF_ATTENTION, TEXT_ATTENTION


@dataclass(frozen=True)
class LynxCondition:
    """Lynx for one forward pass.

    Attributes:
        rows: (B,) int64, which of a branch's R rows each row of the batch gets.
        face: cross-attention branches by block, of the ID adapter.
        reference: self-attention branches by block, of the Ref adapter.
        id_scale, ref_scale: weights of the branches; at 0 a branch is left out.
        region: the tokens of the video that the branches reach, a person's and nobody's alike; None for all.
    """

    rows: Tensor
    face: Mapping[int, AttentionBranch] = field(default_factory=dict)
    reference: Mapping[int, AttentionBranch] = field(default_factory=dict)
    id_scale: float = 1.0
    ref_scale: float = 1.0
    region: TokenRegion | None = None

    def of_block(self, index: int) -> BlockBranches:
        """What joins the attentions of one block."""
        parts = (
            (TEXT_ATTENTION, self.face.get(index), self.id_scale),
            (SELF_ATTENTION, self.reference.get(index), self.ref_scale),
        )
        return {
            kind: WeightedBranch(branch, scale, self.region)
            for kind, branch, scale in parts
            if branch is not None and scale
        }


def install_lynx(
    transformer_options: dict, transformer: Transformer, condition: LynxCondition, blocks: Iterable[int]
) -> dict:
    """A copy of `transformer_options` under which the given blocks of `transformer` have Lynx's branches."""
    branches = {index: condition.of_block(index) for index in blocks}
    return add_branches(transformer_options, transformer, branches, condition.rows)
