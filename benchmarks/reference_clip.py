"""Portrait and report of a 65-frame reference, against decoding and face tracking of the same clip.

CPU seconds. Give a clip of your own to see it on a real person: SLOTID_CLIP=clip.mp4 python -m benchmarks.
"""

import os
from pathlib import Path

from benchmarks.paired import Ratio, compare_rarely
from slotid_core.reference.decode.clip import read_clip
from slotid_core.reference.faces.detector import find_detector
from slotid_core.reference.faces.face_clip import make_face_clip
from slotid_core.reference.portrait.select import select_portrait
from slotid_core.reference.report.quality import judge_reference

CLIP = Path(__file__).parents[1] / "example_people" / "person_1000015.mp4"


def run() -> list[Ratio]:
    path, detector = Path(os.environ.get("SLOTID_CLIP", CLIP)), find_detector()

    def track():
        return make_face_clip(read_clip(path, 65, 0.0, 16.0, 480).frames, detector, size=256)

    tracked = track()

    def choose():
        return select_portrait(tracked.clip, detector)

    chosen = choose()

    def judge():
        judge_reference(
            tracked.clip, detector, tracking=tracked.report, portrait=chosen.report, portrait_image=chosen.image,
            portrait_mask=chosen.mask,
        )  # fmt: skip

    judge()
    of = "of 65 frames / decoding and tracking"
    return compare_rarely({f"Select Portrait {of}": choose, f"Reference Report {of}": judge}, track)
