"""What the Ref adapter reads: how the frozen base itself sees the face, in every block (Lynx, section 3.1)."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from einops import rearrange
from torch import Tensor

from ...config import known_settings, shown
from ...errors import SlotIDError
from ...wan.hooks.blocks import Transformer
from ...weights import load_weights, naming, save_weights

KIND = "lynx_reference"
VERSION = 1
PROMPT = "image of a face"
MOST_PICTURES = 4  # of one person, side by side


@dataclass(frozen=True)
class ReferenceHeader:
    """What a reference's file says beside its tensor; see `ReferenceFeatures`."""

    source: dict


@dataclass(frozen=True)
class ReferenceFeatures:
    """One face as one base model sees it, and beside it a plain grey picture, which is Lynx's "nobody".

    Attributes:
        features: (2, blocks, M, D), row 0 the grey picture and row 1 the face: what enters each block's self-attention
            at noise level 0 under the prompt "image of a face". Of several pictures, see `side_by_side`.
        source: facts about the reference, for people; JSON-ready.
    """

    features: Tensor
    source: dict = field(default_factory=dict)

    def __post_init__(self):
        if self.features.dim() != 4 or self.features.shape[0] != 2 or 0 in self.features.shape:
            raise SlotIDError(
                f"Reference features have shape (2, blocks, tokens, width); got {tuple(self.features.shape)}."
            )

    @property
    def model_depth(self) -> int:
        return self.features.shape[1]

    @property
    def model_width(self) -> int:
        return self.features.shape[3]

    def save(self, path: str | os.PathLike) -> None:
        header = {"kind": KIND, "version": VERSION, "prompt": PROMPT, "source": self.source}
        save_weights(path, {"features": self.features}, header)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "ReferenceFeatures":
        tensors, header = load_weights(path, KIND, VERSION)
        if set(tensors) != {"features"}:
            raise SlotIDError(
                f"{os.path.basename(path)} lacks the tensor of a Lynx reference; it has {shown(sorted(tensors))}."
            )
        with naming(path):
            return cls(tensors["features"], known_settings(ReferenceHeader, header).source)


def side_by_side(features: Tensor, count: int) -> Tensor:
    """What a base sees of a grey picture and of `count` pictures of each of B faces, as one reference for each.

    Nobody's tokens are repeated: attention to equal tokens gives the same however many there are.

    Args:
        features: (1 + B * count, blocks, M, D), the grey picture first.

    Returns:
        (1 + B, blocks, count * M, D)
    """
    if count == 1:
        return features
    nobody = features[:1].repeat(1, 1, count, 1)
    return torch.cat([nobody, rearrange(features[1:], "(b k) l m d -> b l (k m) d", k=count)])


def read_features(transformer: Transformer, run: Callable[[], object]) -> Tensor:
    """(B, blocks, M, D), what enters the self-attention of each block while `run` sends one batch through.

    The hooks are gone when this returns or raises.
    """
    seen: list[Tensor] = []

    def note(module, inputs):
        seen.append(inputs[0].detach())

    hooks = [block.get_submodule("self_attn").register_forward_pre_hook(note) for block in transformer.blocks]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    if len(seen) != len(hooks):
        raise SlotIDError(f"The reference pass went through {len(seen)} of {len(hooks)} blocks; the MODEL skips some.")
    return torch.stack(seen, dim=1)
