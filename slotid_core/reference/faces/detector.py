"""Which face detector is used: insightface, YuNet, the cascade that libraries bundle, or our own for drawn people."""

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from ...errors import SlotIDError
from .cascade import find_cascade
from .drawn_faces import drawn_faces_first, find_drawn_faces
from .face import Detector
from .insightface_models import find_insightface
from .yunet import find_yunet

CHOICES = ("auto", "insightface", "cascade", "yunet", "drawn")
logger = logging.getLogger(__name__)


def find_detector(model_folders: Sequence[Path | str] = (), choice: str = "auto") -> Detector:
    """The best detector this machine has.

    Args:
        model_folders: where ONNX files may lie, at any depth, such as ComfyUI's models/insightface.
        choice: "insightface", "yunet", "cascade", "drawn", or "auto": the first of the former three that is there,
            after a look whether the picture shows a drawn person.

    Raises:
        SlotIDError: the chosen one is not installed.
    """
    if choice not in CHOICES:
        raise SlotIDError(f"There is no face detector {choice!r}. Choose one of {', '.join(CHOICES)}.")
    folders = tuple(str(folder) for folder in model_folders)
    reasons = []
    for name, find in (("insightface", find_insightface), ("yunet", find_yunet)):
        if choice not in ("auto", name):
            continue
        detector, reason = find(folders)
        if detector is not None:
            return drawn_faces_first(detector) if choice == "auto" else detector
        if choice == name:
            raise SlotIDError(f"{name} cannot run: {reason} Or set the detector to auto.")
        reasons.append(f"{name}: {reason}")
    if choice == "drawn":
        return find_drawn_faces()
    if choice == "auto":
        _announce_fallback(" ".join(reasons))
        return drawn_faces_first(find_cascade())
    return find_cascade()


@cache
def _announce_fallback(reason: str) -> None:
    logger.warning("Slot-ID finds faces with %s, which sees frontal faces only. %s", find_cascade().name, reason)
