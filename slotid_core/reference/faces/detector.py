"""Which face detector this machine has: insightface, YuNet, or the cascade that its libraries bundle."""

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from ...errors import SlotIDError
from .cascade import find_cascade
from .face import Detector
from .insightface_models import find_insightface
from .yunet import find_yunet

CHOICES = ("auto", "insightface", "cascade", "yunet")
logger = logging.getLogger(__name__)


def find_detector(model_folders: Sequence[Path | str] = (), choice: str = "auto") -> Detector:
    """The best detector this machine has.

    Args:
        model_folders: where ONNX files may lie, at any depth, such as ComfyUI's models/insightface.
        choice: "insightface", "yunet", "cascade", or "auto": the first of these that is there.

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
            return detector
        if choice == name:
            raise SlotIDError(f"{name} cannot run: {reason} Or set the detector to auto.")
        reasons.append(f"{name}: {reason}")
    if choice == "auto":
        _announce_fallback(" ".join(reasons))
    return find_cascade()


@cache
def _announce_fallback(reason: str) -> None:
    logger.warning("Slot-ID finds faces with %s, which sees frontal faces only. %s", find_cascade().name, reason)
