"""Cosines between two clips of one person, and of two people, where each is known by a picture or by the clip."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from slotid_core.errors import SlotIDError
from slotid_core.evaluation.likeness.frames import evenly, read_video
from slotid_core.evaluation.likeness.people import look_twice
from slotid_core.recognisers.recogniser import Recogniser
from slotid_core.reference.faces.detector import Detector
from slotid_core.reference.faces.face import area
from slotid_core.reference.faces.mean_face import mean_face
from slotid_core.reference.portrait.faces_of_clip import best_faces
from slotid_core.toy_world.person import HELD_OUT_FROM, sample_person
from slotid_core.toy_world.render import draw, reference_motion

FRAMES = 49  # of a clip at most, evenly
MOMENTS = 8
TOY_FIRST, TOY_SIDE = HELD_OUT_FROM + 930_000, 128  # of drawn people, whom no other measurement shows
WAYS = ("middle frame", "best frame", "clip")
RESAMPLES = 2000
Clip = np.ndarray  # (T, H, W, 3) uint8


def halves(folders: Iterable[Path]) -> Iterator[tuple[str, Clip, Clip]]:
    """Of each real clip, both halves: no clip has a second one of its person."""
    files = [file for folder in folders for file in sorted(folder.iterdir()) if file.suffix in (".mp4", ".mpg")]
    for file in tqdm(files, desc="clips"):
        frames = read_video(file).pixels
        half = len(frames) // 2
        yield file.stem, frames[evenly(half, FRAMES)], frames[half + evenly(len(frames) - half, FRAMES)]


def drawn_pairs(people: int) -> Iterator[tuple[str, Clip, Clip]]:
    """Of each drawn person, clips in two scenes."""
    for seed in tqdm(range(TOY_FIRST, TOY_FIRST + people), desc="drawn people"):
        person = sample_person(seed)
        clips = []
        for number in range(2):
            scene, motion = reference_motion(person, 10 * seed + number, FRAMES)
            clips.append((draw([person], [scene], [motion], TOY_SIDE)[0] * 255).round().byte().numpy())
        yield str(seed), clips[0], clips[1]


def known_by(clip: Clip, recogniser: Recogniser, detector: Detector) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Unit vectors by way of knowing, and how many moments there were and were left out.

    Raises:
        SlotIDError: no face was found in any of the frames that count.
    """
    frames = torch.from_numpy(clip).float() / 255
    moments = best_faces(frames, detector, MOMENTS, on_missing="skip").frames
    vectors = [vector_of(clip[place], recogniser) for place in moments]
    found = [vector for vector in vectors if vector is not None]
    middle = next(
        (v for v in (vector_of(clip[place], recogniser) for place in outwards(len(clip))) if v is not None), None
    )
    if not found or middle is None:
        raise SlotIDError(f"{recogniser.name} finds no face in the best moments of this clip.")
    mean = mean_face(torch.from_numpy(np.stack(found)))
    known = {"middle frame": middle, "best frame": found[0], "clip": mean.vector.numpy()}
    return known, {"moments": len(found), "left_out": len(mean.left_out)}


def outwards(count: int) -> list[int]:
    """The middle frame, and its neighbours for a clip in whose middle no face is found."""
    return sorted(range(count), key=lambda place: abs(place - count // 2))[:9]


def vector_of(frame: np.ndarray, recogniser: Recogniser) -> np.ndarray | None:
    face = max(look_twice(recogniser, np.ascontiguousarray(frame)), key=lambda one: area(one.box), default=None)
    return None if face is None else face.embedding


def measure(
    name: str, pairs: Iterable[tuple[str, Clip, Clip]], recogniser: Recogniser, detector: Detector
) -> dict[str, float]:  # fmt: skip
    """Figures by way of knowing: cosines of one person's two clips, and of two people's, and how well they are told
    apart; differences from one frame are paired over people.
    """
    firsts: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
    seconds: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
    moments = left_out = unseen = 0
    for _, first, second in pairs:
        try:
            both = [known_by(clip, recogniser, detector) for clip in (first, second)]
        except SlotIDError:
            unseen += 1
            continue
        for way in WAYS:
            firsts[way].append(both[0][0][way])
            seconds[way].append(both[1][0][way])
        moments += sum(counts["moments"] for _, counts in both)
        left_out += sum(counts["left_out"] for _, counts in both)
    cosines = {way: np.stack(firsts[way]) @ np.stack(seconds[way]).T for way in WAYS}
    figures: dict[str, float] = {
        f"{name}.people": len(firsts[WAYS[0]]), f"{name}.unseen": unseen, f"{name}.moments": moments,
        f"{name}.left_out": left_out,
    }  # fmt: skip
    for way, matrix in cosines.items():
        same, different = np.diag(matrix), matrix[~np.eye(len(matrix), dtype=bool)]
        key = f"{name}.{way.replace(' ', '_')}"
        figures |= {
            f"{key}.same": float(same.mean()), f"{key}.same_least": float(same.min()),
            f"{key}.different": float(different.mean()), f"{key}.different_most": float(different.max()),
            f"{key}.separation": separation(matrix),
        }  # fmt: skip
    for way in WAYS[:2]:
        gain = np.diag(cosines["clip"]) - np.diag(cosines[way])
        low, high = interval(gain)
        key = f"{name}.clip_minus_{way.replace(' ', '_')}"
        figures |= {key: float(gain.mean()), f"{key}.low": low, f"{key}.high": high}
    return figures


def separation(matrix: np.ndarray) -> float:
    """d': distance of the means of one person's and of two people's cosines, in their pooled standard deviation."""
    same, different = np.diag(matrix), matrix[~np.eye(len(matrix), dtype=bool)]
    return float((same.mean() - different.mean()) / np.sqrt((same.var() + different.var()) / 2))


def interval(values: np.ndarray) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
