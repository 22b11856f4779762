"""Lynx (arXiv 2509.15496): a person from one picture, by attention to identity tokens and to the picture's features.

Two adapters, both beside a frozen Wan: the ID adapter adds attention to tokens of a face embedding to each
cross-attention, the Ref adapter adds attention to the base model's own view of the face to each self-attention.
"""

from .adapter import LynxAdapter, build_adapter, read_adapter
from .injection import AttentionBranch, LynxCondition, install_lynx
from .reference import ReferenceFeatures, read_features
from .resampler import Resampler, ResamplerConfig

__all__ = [
    "AttentionBranch",
    "LynxAdapter",
    "LynxCondition",
    "ReferenceFeatures",
    "Resampler",
    "ResamplerConfig",
    "build_adapter",
    "install_lynx",
    "read_adapter",
    "read_features",
]
