"""Settings of a Slot-ID adapter, as its file holds them."""

from dataclasses import dataclass, field
from typing import Annotated

from ...config import config_to_dict
from ...errors import SlotIDError
from ...ranges import Count, Depth, Pixels, Range, Width, check_ranges
from ...wan.lora import LINEAR_LAYERS
from .gate import GateSchedule
from .identity import GateMode
from .image_anchor import ImageAnchorConfig
from .temporal_encoder import ARCHITECTURES, TemporalEncoderConfig

LORA_TARGETS = (*LINEAR_LAYERS, *(f"self_attn.{layer}" for layer in LINEAR_LAYERS))
WAN_RATE = 16.0  # frames per second of the videos that Wan 2.1 and 2.2 14B make


@dataclass(frozen=True)
class LoRAConfig:
    """LoRA on cross-attention (paper, section 4.1): K and V at rank 32, α 16.

    Attributes:
        targets: linear layers, of "q", "k", "v", "o" for cross-attention's and "self_attn.q" and so on for
            self-attention's.
    """

    rank: Count = 32
    alpha: Annotated[float, Range(0, 1e5)] = 16.0
    targets: tuple[str, ...] = ("k", "v")

    def __post_init__(self):
        check_ranges(self)
        if not self.targets or set(self.targets) - set(LORA_TARGETS) or len(set(self.targets)) < len(self.targets):
            raise SlotIDError(
                f"The LoRA's targets are some of {', '.join(LORA_TARGETS)}, each once; got {list(self.targets)}."
            )

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers' names inside a block."""
        return tuple(target if "." in target else f"cross_attn.{target}" for target in self.targets)


@dataclass(frozen=True)
class AdapterConfig:
    """One adapter. `encoder` or `anchor` may be None for an adapter of a single stream.

    Attributes:
        model_width, model_depth: of the video model; 1536 and 30 for Wan 1.3B, 5120 and 40 for 14B.
        reference_size, reference_frames: pixels and frames of the face clip that the encoder was trained on.
        portrait_size: pixels of the portrait.
        reference_rate: frames per second of that face clip; None in files that do not say it, see `reads_at`.
        film_fraction: share of the blocks, from the last, that FiLM modulates; 0 turns it off.
        normalize_tokens: LayerNorm on identity tokens, the paper's "lightweight regularisation" (section 3.3).
    """

    model_width: Width
    model_depth: Depth
    encoder: TemporalEncoderConfig | None
    anchor: ImageAnchorConfig | None
    reference_size: Pixels = 256
    reference_frames: Count = 65
    portrait_size: Pixels = 512
    film_fraction: float = 0.5
    film_rank: Count = 16
    normalize_tokens: bool = False
    gate: GateSchedule = field(default_factory=GateSchedule)
    gate_mode: GateMode = "paper"
    lora: LoRAConfig | None = field(default_factory=LoRAConfig)
    reference_rate: float | None = None

    def __post_init__(self):
        check_ranges(self)
        streams = self.streams
        if not streams:
            raise SlotIDError("An adapter needs an encoder, an image anchor, or both.")
        if self.encoder is not None and self.encoder.architecture not in ARCHITECTURES:
            raise SlotIDError(
                f"The encoder's architecture is one of {', '.join(ARCHITECTURES)}; got {self.encoder.architecture!r}."
            )
        if any(stream.model_width != self.model_width for stream in streams):
            raise SlotIDError(f"The streams' model_width must be the adapter's, {self.model_width}.")
        if len({stream.global_width for stream in streams}) > 1:
            raise SlotIDError("Both streams must have the same global_width: one FiLM serves both.")
        if not 0 <= self.film_fraction <= 1:
            raise SlotIDError(f"film_fraction must lie in [0, 1]; got {self.film_fraction}.")
        if self.reference_rate is not None and not 0 < self.reference_rate <= 1000:
            raise SlotIDError(
                f"reference_rate must be above 0 and at most 1000 frames per second; got {self.reference_rate}."
            )

    @classmethod
    def for_model(cls, model_width: int, model_depth: int, **settings) -> "AdapterConfig":
        """The default adapter for a video model of this width and depth."""
        settings.setdefault("encoder", TemporalEncoderConfig(model_width))
        settings.setdefault("anchor", ImageAnchorConfig(model_width))
        return cls(model_width, model_depth, **settings)

    @property
    def reads_at(self) -> float:
        """Frames per second at which a face clip should be given; Wan's own rate where the file does not say it."""
        return self.reference_rate or WAN_RATE

    def as_dict(self) -> dict:
        """JSON-ready, as files and fingerprints hold it: a rate that is not known is left out, as in files from before
        there was one."""
        values = config_to_dict(self)
        if self.reference_rate is None:
            del values["reference_rate"]
        return values

    @property
    def required_tensors(self) -> tuple[str, str]:
        """Prepared tensors that its two streams read; the oracle is told who it is in place of a clip."""
        told = self.encoder is not None and self.encoder.architecture == "factors"
        return ("factors" if told else "reference"), "portrait"

    @property
    def num_film_blocks(self) -> int:
        return round(self.model_depth * self.film_fraction)

    @property
    def streams(self) -> list[TemporalEncoderConfig | ImageAnchorConfig]:
        """Settings of the streams that this adapter has, at least one: the encoder's first, the image anchor's last."""
        return [stream for stream in (self.encoder, self.anchor) if stream is not None]

    @property
    def global_width(self) -> int:
        """Width of the global vectors; the same for both streams."""
        return self.streams[0].global_width
