"""A reference clip: read it, follow the face, choose the portrait, judge it."""

import os

import folder_paths

from ..shared import paths
from . import faces, report, second_pass, video

__all__ = ["NODES", "register_folders"]

NODES = [*video.NODES, *faces.NODES, *second_pass.NODES, *report.NODES]


def register_folders() -> None:
    """A face detector's folder, so that ComfyUI knows where the file goes that a template offers."""
    paths.register_folder(
        "face_detection", os.path.join(folder_paths.models_dir, "face_detection"), frozenset({".onnx"})
    )
