"""Which face detector a node uses, and where its models may lie."""

import folder_paths
from comfy_api.latest import io

from ...slotid_core.reference.faces.detector import CHOICES, find_detector

FOLDERS = ("insightface", "face_detection")


def face_detector(choice: str):
    return find_detector(detector_folders(), choice)


def detector_folders() -> list[str]:
    return [path for folder in FOLDERS for path in model_folders(folder)]


def model_folders(name: str) -> list[str]:
    """Where models of that name lie: what `extra_model_paths.yaml` or another pack registered, else models/name."""
    try:
        return folder_paths.get_folder_paths(name)
    except KeyError:
        return [f"{folder_paths.models_dir}/{name}"]


def detector_input() -> io.Combo.Input:
    return io.Combo.Input(
        "detector",
        options=list(CHOICES),
        default="auto",
        tooltip="What finds the face. auto: insightface if its models lie in models/insightface, else YuNet if its "
        "file lies there or in models/face_detection, else the bundled cascade, which sees frontal faces only; and "
        "before any of them our own finder of drawn people. Choose drawn for cartoons that look like ours, another to "
        "compare; the report names the one that ran.",
    )
