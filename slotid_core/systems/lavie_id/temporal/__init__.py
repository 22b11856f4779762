"""LaVieID's temporal autoregressive module (section 3.3): sampled latents, refined chunk by chunk before decoding.

It reads latents and gives latents, so that it goes behind any sampler and any system.
"""

from .config import TemporalConfig
from .file import load_temporal, save_temporal
from .module import TemporalModule

__all__ = ["TemporalConfig", "TemporalModule", "load_temporal", "save_temporal"]
