"""Settings of an ST-DRC adapter, as its file holds them."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from ...errors import SlotIDError
from ...ranges import Count, Depth, Range, Side, Width, check_ranges
from ...wan.hooks.tokens import Attends
from ...wan.lora import LINEAR_LAYERS

Trained = Literal["all", "reference"]
Modulation = Literal["clean", "shared"]


@dataclass(frozen=True)
class LoRAConfig:
    """LoRA on self-attention. The original trains the whole transformer; low rank is ours.

    Attributes:
        targets: linear layers of self-attention, of "q", "k", "v", "o".
        tokens: which tokens it changes. "all" is merged into the model, and stays where a row has no reference;
            "reference" changes the reference's tokens alone, and weights stay as they are.
    """

    rank: Count = 128
    alpha: Annotated[float, Range(0, 1e5)] = 128.0
    targets: tuple[str, ...] = LINEAR_LAYERS
    tokens: Trained = "all"

    def __post_init__(self):
        check_ranges(self)
        if not self.targets or set(self.targets) - set(LINEAR_LAYERS) or len(set(self.targets)) < len(self.targets):
            raise SlotIDError(
                f"The LoRA's targets are some of {', '.join(LINEAR_LAYERS)}, each once; got {list(self.targets)}."
            )

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers' names inside a block."""
        return tuple(f"self_attn.{target}" for target in self.targets)


@dataclass(frozen=True)
class LayoutConfig:
    """How the reference stands beside the video. The defaults are TASS-RoPE (method figure) with clean tokens.

    With t latent frames of h x w tokens, token (y, x) of reference i stands at (t + i, y + h, x + w).

    Attributes:
        spatial_shift: False puts it at (y, x), over the video's own places; an ablation.
        temporal_place: False puts reference i at time i, among the video's frames; an ablation.
        before_video: True puts reference i of R at time i - R, before the video's first frame, as Stand-In does.
        modulation: "clean" modulates reference tokens as at noise level 0; "shared" as the video's. The source does
            not say which; clean is ours.
        reference_attends: "all" lets reference tokens attend to the video too; "itself" to the references alone.
        reads_text: whether reference tokens attend to the prompt. Without it, and with "itself" and "clean", their
            keys and values are the same in every step of a run, and are computed once.
        picture_side: pixels of a side of the references, squares whatever the video's size; 0 for the video's size.
    """

    spatial_shift: bool = True
    temporal_place: bool = True
    modulation: Modulation = "clean"
    reference_attends: Attends = "all"
    reads_text: bool = True
    before_video: bool = False
    picture_side: Side = 0

    def __post_init__(self):
        check_ranges(self)
        if self.before_video and not self.temporal_place:
            raise SlotIDError(
                "A layout has its references before the video (before_video) or among its frames (temporal_place "
                "false), not both. Leave one of them as it is by default."
            )

    def time_of_first(self, frames: int, pictures: int) -> int:
        """Where the first of the pictures is in time, beside a video of so many latent frames."""
        if self.before_video:
            return -pictures
        return frames if self.temporal_place else 0


# Stand-In (arXiv 2508.07901): one picture of 512 x 512 at (-1, y + h, x + w), which sees itself alone.
STAND_IN = LayoutConfig(before_video=True, reference_attends="itself", reads_text=False, picture_side=512)


@dataclass(frozen=True)
class AdapterConfig:
    """One adapter.

    Attributes:
        model_width, model_depth: of the video model; 1536 and 30 for Wan 1.3B, 5120 and 40 for 14B.
    """

    model_width: Width
    model_depth: Depth
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    layout: LayoutConfig = field(default_factory=LayoutConfig)

    __post_init__ = check_ranges
