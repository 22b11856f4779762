"""Settings of a Lynx adapter that is trained here; what is loaded is read off its tensors instead."""

from dataclasses import dataclass
from typing import Literal

from ...errors import SlotIDError
from ...ranges import Count, Depth, Width, check_ranges
from .resampler import ResamplerConfig


@dataclass(frozen=True)
class AdapterConfig:
    """One adapter.

    Attributes:
        model_width, model_depth: of the video model; 5120 and 40 for Wan 14B.
        resampler: its `output_width` is what the ID layers take; the video model's width in the full variant.
        variant: of the ID layers. "full" has registers in every block; "lite" has none, in every second block.
        has_id, has_ref: which of the two adapters there are.
        num_registers: of each ID layer of the full variant.
    """

    model_width: Width
    model_depth: Depth
    resampler: ResamplerConfig
    variant: Literal["full", "lite"] = "full"
    has_id: bool = True
    has_ref: bool = True
    num_registers: Count = 16

    def __post_init__(self):
        check_ranges(self)
        if not (self.has_id or self.has_ref):
            raise SlotIDError("A Lynx adapter needs ID layers, Ref layers, or both: set has_id or has_ref.")
