"""Settings of a LaVieID adapter, as its file holds them."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from ...errors import SlotIDError
from ...ranges import Count, Depth, Layers, Patch, Pixels, Range, Width, check_ranges
from ...wan.lora import LINEAR_LAYERS

VisionKind = Literal["clip_vit_h", "eva02_clip_l", "own"]
Place = Literal["before", "after"]
Routing = Literal["learned", "uniform"]
NumBlocks = Annotated[int, Range(1, 64)]
NumLevels = Annotated[int, Range(1, 16)]
OptionalWidth = Annotated[int, Range(0, 2**17)]
LORA_LAYERS = tuple(f"{attention}.{layer}" for attention in ("self_attn", "cross_attn") for layer in LINEAR_LAYERS)


@dataclass(frozen=True)
class VisionConfig:
    """The network that looks at each component.

    Attributes:
        kind: "clip_vit_h" is CLIP ViT-H/14, which Wan's image-to-video models use; it is frozen and has a file of its
            own. "eva02_clip_l" is ConsisID's, frozen too; its sizes are those of `EVA02_CLIP_L`. "own" is a small
            patch encoder that is trained with the adapter and is in its file.
        side: pixels of a component's picture.
        width: of the features.
        pooled_width: of the one vector that stands for the whole picture.
        levels: the features that enter these blocks, from 0, are read. ConsisID reads five, at a sixth to five sixths
            of the depth; of the 32 blocks of ViT-H these are the defaults. "own" has as many blocks as there are
            levels, and what each of them gives is one.
        patch, heads: of "own".
    """

    kind: VisionKind = "clip_vit_h"
    side: Pixels = 224
    width: Width = 1280
    pooled_width: Width = 1024
    levels: tuple[Annotated[int, Range(0, 512)], ...] = (5, 11, 16, 21, 27)
    patch: Patch = 14
    heads: NumBlocks = 16

    def __post_init__(self):
        check_ranges(self)
        if not 1 <= len(self.levels) <= 16 or list(self.levels) != sorted(set(self.levels)):
            raise SlotIDError(f"levels are 1 to 16 numbers of blocks, rising; got {list(self.levels)}.")
        if self.kind == "own" and (self.side % self.patch or self.width % self.heads):
            raise SlotIDError(
                f"The side {self.side} must be a multiple of the patch {self.patch}, and the width {self.width} of the "
                f"heads {self.heads}. Change one of them."
            )


EVA02_CLIP_L = VisionConfig(
    "eva02_clip_l", side=336, width=1024, pooled_width=768, levels=(4, 8, 12, 16, 20), patch=14, heads=16
)
# Of the frozen networks: what to call them, and their published files.
CALLED = {"clip_vit_h": "CLIP ViT-H", "eva02_clip_l": "EVA02-CLIP-L"}
FILES = {"clip_vit_h": "clip_vision_h.safetensors", "eva02_clip_l": "EVA02_CLIP_L_336_psz14_s6B.pt"}


@dataclass(frozen=True)
class EncoderConfig:
    """The local encoder, ConsisID's local facial extractor. The defaults are the published sizes but for its inputs.

    Attributes:
        width: inside; depth: layers, the same number for each level of the features.
        num_tokens: L of the paper, tokens of a component; token_width: D.
        identity_tokens: tokens that the embedding of the component and the face becomes.
        face_width: of the face embedding; 0 for none.
    """

    width: Width = 1024
    depth: Layers = 10
    heads: NumBlocks = 16
    head_width: Width = 64
    identity_tokens: Count = 5
    num_tokens: Count = 32
    token_width: Width = 2048
    mlp_factor: Annotated[int, Range(1, 16)] = 4
    face_width: OptionalWidth = 512

    __post_init__ = check_ranges


@dataclass(frozen=True)
class RouterConfig:
    """The local router (section 3.2).

    Attributes:
        inner_width: D" of equation 2.
        heads, head_width: of the cross-attention φ; ConsisID's.
        alpha: α of equation 3.
        place: before the first block, where tokens carry no position yet, or after it.
        routing: "learned" is equation 2; "uniform" gives each of M shown components the weight 1 / M, as a baseline
            without a router must.
        null_component: one more weight in the softmax, for tokens that belong to no component. Ours.
    """

    inner_width: Width = 2048
    heads: NumBlocks = 16
    head_width: Width = 128
    alpha: Annotated[float, Range(0, 100)] = 1.0
    place: Place = "before"
    routing: Routing = "learned"
    null_component: bool = False

    def __post_init__(self):
        check_ranges(self)
        if self.routing == "uniform" and self.null_component:
            raise SlotIDError(
                "Uniform routing has no null component. Set null_component to false, or routing to learned."
            )


@dataclass(frozen=True)
class LoRAConfig:
    """LoRA on both attentions of every block: the paper trains the video model, which here stays frozen. Ours.

    Attributes:
        layers: linear layers inside a block.
    """

    rank: Count = 32
    alpha: Annotated[float, Range(0, 1e5)] = 32.0
    layers: tuple[str, ...] = LORA_LAYERS

    def __post_init__(self):
        check_ranges(self)
        if not self.layers or set(self.layers) - set(LORA_LAYERS) or len(set(self.layers)) < len(self.layers):
            raise SlotIDError(
                f"The LoRA's layers are some of {', '.join(LORA_LAYERS)}, each once; got {list(self.layers)}."
            )


@dataclass(frozen=True)
class AdapterConfig:
    """One adapter.

    Attributes:
        model_width, model_depth: of the video model; 1536 and 30 for Wan 1.3B, 5120 and 40 for 14B.
        lora: on the video model; None leaves it as it is.
    """

    model_width: Width
    model_depth: Depth
    vision: VisionConfig = field(default_factory=VisionConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    router: RouterConfig = field(default_factory=RouterConfig)
    lora: LoRAConfig | None = None

    def __post_init__(self):
        check_ranges(self)
        levels = len(self.vision.levels)
        if self.encoder.depth % levels:
            raise SlotIDError(
                f"The encoder's depth {self.encoder.depth} must be a multiple of the {levels} levels that it reads. "
                "Change depth, or the vision's levels."
            )
