"""Which windows of a real clip are good enough to learn from, by the same judge that the Reference Report node asks."""

from collections import Counter
from collections.abc import Iterable

from torch import Tensor

from ..errors import SlotIDError
from ..reference.faces.detector import Detector
from ..reference.report.quality import judge_reference
from .config import QUALITIES

VERDICTS = ("poor", *filter(None, QUALITIES))  # of the judge, the worst first
LEFT_OUT = "left out for its quality"
FACTS = ("verdict", "face_seen", "face_pixels", "sharpness", "exposure", "side_light", "change", "covered")


def quality_of(faces: Tensor, detector: Detector, tracking: dict, least: str) -> dict:
    """What the judge measured in a window, (T, S, S, 3) of its face.

    Args:
        tracking: the tracker's report.
        least: "usable" or "good".

    Raises:
        SlotIDError: the verdict is worse; it says what is wrong with the clip.
    """
    judged = judge_reference(faces, detector, tracking)
    verdict = judged.facts["verdict"]
    if VERDICTS.index(verdict) < VERDICTS.index(least):
        faults = " ".join(item.missing for item in judged.advice)
        kinds = ", ".join(item.fact for item in judged.advice)
        raise SlotIDError(f"{LEFT_OUT} ({kinds}): it is {verdict}, and {least} is asked for. {faults}")
    return {name: judged.facts[name] for name in FACTS}


def counted(failures: Iterable[str]) -> str:
    """How many windows were left out and for what, the commonest first; "" if none was."""
    faults = [reason.partition(f"{LEFT_OUT} (")[2].partition(")")[0] for reason in failures if LEFT_OUT in reason]
    if not faults:
        return ""
    kinds = Counter(kind for listed in faults for kind in listed.split(", "))
    told = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    return f"{len(faults)} {LEFT_OUT}: {told}. A window can have several faults."
