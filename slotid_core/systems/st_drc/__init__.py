"""ST-DRC (arXiv 2606.02441): a person from pictures whose latents join the video's tokens.

No encoder of its own: the video model's VAE encodes the reference, its tokens stand behind the video's in every
self-attention, and their positions lie beside the video's grid, so that a pixel of the reference is nobody's neighbour.
"""

from .adapter import STDRCAdapter, load_adapter, save_adapter
from .config import AdapterConfig, LayoutConfig, LoRAConfig
from .injection import ReferenceCondition, install_reference
from .person import Person

__all__ = [
    "AdapterConfig",
    "LayoutConfig",
    "LoRAConfig",
    "Person",
    "ReferenceCondition",
    "STDRCAdapter",
    "install_reference",
    "load_adapter",
    "save_adapter",
]
