"""Predictions of the toy world's judges for a clip, in words: the scene against the prompt, and the likeness."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from slotid_core.evaluation.videos import as_judged, of_judged_length
from slotid_core.toy_world.captions import asked_for
from slotid_core.toy_world.family import load_clip_judge, load_face_judge, read_part
from slotid_core.toy_world.scene import ACTIONS, BACKGROUNDS, CLOTHES

NAMES = {"action": ACTIONS, "background": BACKGROUNDS, "clothes": CLOTHES}


@dataclass(frozen=True)
class Verdict:
    """Predictions for one clip.

    Attributes:
        scene: of each of `NAMES`, the predicted class, its probability, and what the prompt asks for, if anything.
        similarity: cosine of the face embeddings of clip and reference; None without a reference.
        threshold: the similarity that 1% of mismatched pairs exceed.
    """

    scene: dict[str, tuple[str, float, str | None]]
    similarity: float | None
    threshold: float

    def lines(self) -> list[str]:
        predictions = []
        for what, (seen, sure, wanted) in self.scene.items():
            agrees = "" if wanted is None else ", as asked" if seen == wanted else f", but asked was {wanted}"
            predictions.append(f"{what} {seen} ({sure:.0%} sure{agrees})")
        lines = ["Toy-world judges: " + "; ".join(predictions) + "."]
        if self.similarity is not None:
            same = "the same person" if self.similarity > self.threshold else "not the person of the reference"
            lines.append(
                f"Toy-world face judge: {same}; similarity {self.similarity:.2f}; only 1% of mismatched pairs are "
                f"above {self.threshold:.2f}."
            )
        return lines

    def figures(self) -> dict[str, float | str | None]:
        figures: dict[str, float | str | None] = {f"judged_{what}": seen for what, (seen, _, _) in self.scene.items()}
        return figures | {"face_similarity": self.similarity, "face_threshold": self.threshold}


@torch.no_grad()
def judge_clip(frames: np.ndarray, prompt: str, reference: np.ndarray | None = None) -> Verdict:
    """Judge a clip (17, H, W, 3) uint8; `reference` (T, H, W, 3) is a clip of the toy world, not of a real person.

    The judges know clips of 17 frames only; of others the first 17 are judged, the last one repeated if need be.
    """
    clip = as_judged(frames)
    predictions, wanted = load_clip_judge()(of_judged_length(clip)[None]), asked_for(prompt)
    scene = {}
    for what, names in NAMES.items():
        sure, index = predictions[what][0].softmax(0).max(0)
        scene[what] = (names[index], sure.item(), names[wanted[what]] if what in wanted else None)
    similarity = None
    if reference is not None:
        judge = load_face_judge()
        ours, theirs = judge.embed_clips(clip[None]), judge.embed_clips(as_judged(reference)[None])
        similarity = F.cosine_similarity(ours, theirs).item()
    threshold = read_part("face_judge")[1]["metrics"]["face_judge_threshold"]
    return Verdict(scene, similarity, threshold)
