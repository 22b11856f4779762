"""LaVieID (arXiv 2508.07603): a person from the components of a face, each routed to the video tokens that show it.

A parsing cuts the reference into brows, eyes, mouth, nose, skin and hair; a local encoder makes tokens of each; at the
first block a router weighs, for each token of the video, how far each component refines it. `temporal/` is the second
half of the paper, which refines the latents of any system.
"""

from .adapter import LaVieIDAdapter, load_adapter, save_adapter
from .config import AdapterConfig, EncoderConfig, RouterConfig, VisionConfig
from .injection import RouterCondition, install_router
from .person import Person
from .router import LocalRouter, Routes

__all__ = [
    "AdapterConfig",
    "EncoderConfig",
    "LaVieIDAdapter",
    "LocalRouter",
    "Person",
    "RouterCondition",
    "RouterConfig",
    "Routes",
    "VisionConfig",
    "install_router",
    "load_adapter",
    "save_adapter",
]
