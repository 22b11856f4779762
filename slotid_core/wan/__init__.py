"""The Wan video transformer, and how identity enters it."""

from .model import WAN_1_3B, WAN_14B, WanConfig, WanModel

__all__ = ["WAN_1_3B", "WAN_14B", "WanConfig", "WanModel"]
