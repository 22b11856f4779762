"""Slot-ID (arXiv 2601.01352): identity tokens from a reference clip and a portrait."""

from .adapter import SlotIDAdapter, load_adapter, save_adapter
from .config import AdapterConfig, LoRAConfig
from .gate import GateSchedule
from .identity import Identity
from .image_anchor import ImageAnchor, ImageAnchorConfig
from .slot_reader import SlotReaderConfig
from .stream import IdentityStream
from .temporal_encoder import TemporalEncoderConfig, TemporalIdentityEncoder

__all__ = [
    "AdapterConfig",
    "GateSchedule",
    "Identity",
    "IdentityStream",
    "ImageAnchor",
    "ImageAnchorConfig",
    "LoRAConfig",
    "SlotIDAdapter",
    "SlotReaderConfig",
    "TemporalEncoderConfig",
    "TemporalIdentityEncoder",
    "load_adapter",
    "save_adapter",
]
