"""Which face detector a node uses, and where its models may lie."""

import folder_paths
from comfy_api.latest import io

from ..slotid_core.reference.detector import CHOICES, find_detector


def face_detector(choice: str):
    try:
        folders = folder_paths.get_folder_paths("insightface")
    except KeyError:  # no other pack registered the folder
        folders = [f"{folder_paths.models_dir}/insightface"]
    return find_detector(folders, choice)


def detector_input() -> io.Combo.Input:
    return io.Combo.Input(
        "detector",
        options=list(CHOICES),
        default="auto",
        tooltip="What finds the face. auto: insightface if its models lie in models/insightface, else the bundled "
        "cascade, which sees frontal faces only. Change it to compare them; the report names the one that ran.",
    )
