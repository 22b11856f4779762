"""Which few seconds of a clip show the person best.

A long clip is first sounded out at its key frames, which decode many times faster than all frames. Around the best of
them every frame is read small, cuts are found, and a face is looked for every few frames. Every window between two cuts
is then scored: how much the face's looks change, how sharp, well exposed and large it is, how often it is seen.
Memory does not grow with the clip: of each region only small grey frames are kept, and only while it is examined.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from ...errors import SlotIDError
from ...interrupts import Heartbeat, Progress
from ..decode.clip import ReferenceClip, select_frames, shrink
from ..decode.shots import cuts_between, thumbnail
from ..decode.source import FrameSource, open_source
from ..decode.window import largest_window
from .face import Box, Detector, Face, sides
from .find_faces import faces_in
from .measure import appearance, exposure, face_region, sharpness, spread
from .tracking import link_faces

EXAMINE_EVERY = 6  # frames
START_EVERY = 4  # frames between two windows that are compared
READ_WHOLE = 900  # frames: a clip up to this length is examined from end to end
PROBES = 60  # key frames to sound out a longer one
REGIONS = 5  # places of a longer one that are examined
SMALL_SIDE = 320  # pixels of the shorter side at which faces are examined
LARGE_FACE = 0.33  # of the picture's shorter side: larger is no better
MUCH_CHANGE = 0.7  # spread of a face that turns to both sides while talking
WEIGHTS = {"change": 0.5, "sharp": 0.5, "exposed": 0.25, "large": 0.25, "seen": 1.0, "length": 2.0}  # exponents


@dataclass(frozen=True)
class WindowScore:
    """One window: where it lies and how good it is; every part in [0, 1], `total` their weighted product."""

    start_seconds: float
    end_seconds: float
    num_frames: int
    parts: dict[str, float]

    @property
    def total(self) -> float:
        return float(np.prod([self.parts[name] ** weight for name, weight in WEIGHTS.items()])) if self.parts else 0.0


@dataclass
class Survey:
    """What was learned about a clip: all that the timeline shows."""

    duration: float
    windows: list[WindowScore] = field(default_factory=list)
    cuts: list[float] = field(default_factory=list)
    regions: list[tuple[float, float]] = field(default_factory=list)
    faces: list[tuple[float, bool]] = field(default_factory=list)
    pictures: list[tuple[float, np.ndarray]] = field(default_factory=list)  # seconds, (h, w, 3) uint8
    notes: list[str] = field(default_factory=list)

    @property
    def best(self) -> WindowScore:
        return max(self.windows, key=lambda window: window.total)

    def facts(self) -> dict:
        """JSON-ready: the window that was taken, why, and what else the search saw."""
        best = self.best
        return {
            "start_seconds": round(best.start_seconds, 3),
            "end_seconds": round(best.end_seconds, 3),
            "frames": best.num_frames,
            "score": round(best.total, 4) if best.parts else None,
            "parts": {name: round(value, 3) for name, value in best.parts.items()},
            "windows_compared": len(self.windows),
            "cuts_seconds": [round(cut, 3) for cut in self.cuts],
            "notes": self.notes,
        }


def find_best_window(
    path: str | Path | BinaryIO | FrameSource,
    detector: Detector,
    num_frames: int = 65,
    start_seconds: float = 0.0,
    frames_per_second: float | None = None,
    progress: Progress | None = None,
) -> Survey:
    """Searches a clip for the window that covers most change of pose and expression at good sharpness.

    Args:
        path: a video file or its bytes, a folder of pictures, or an open source, which stays open.
        num_frames: how long the window should be; between two close cuts it is shorter, of the form 4n+1.
        start_seconds: what lies before is left out.
        frames_per_second: as for `read_clip`: sample at this rate; None takes every frame.
        progress: called with (work done, work in all), also while none is done: what it raises stops the search.

    Returns:
        Survey; `best.start_seconds` and `best.num_frames` are what `read_clip` takes.

    Raises:
        SlotIDError: the clip cannot be read, or is over before `start_seconds`.
    """
    given = isinstance(path, FrameSource)
    heartbeat = Heartbeat(progress)
    if isinstance(path, FrameSource):
        source = path
    else:
        source = open_source(Path(path) if isinstance(path, str) else path, heartbeat=heartbeat)
    wanted = largest_window(num_frames)
    rate = frames_per_second or source.rate
    length = ((source.duration or 0.0) - start_seconds) * rate
    survey = Survey(source.duration or 0.0)
    report = heartbeat.report
    try:
        if source.duration is None or length <= READ_WHOLE:
            regions = [(start_seconds, READ_WHOLE if source.duration is None else max(1, round(length)) + 1)]
        else:
            regions = _promising(source, detector, start_seconds, max(wanted * 2, 130), rate, survey, report)
        frames_in_all = sum(count for _, count in regions)
        done = itertools.count(1)
        for start, count in regions:
            _examine(
                source, detector, start, count, wanted, frames_per_second, survey,
                lambda: report(min(next(done), frames_in_all), frames_in_all),
            )  # fmt: skip
    finally:
        if not given:
            source.close()
    if not survey.windows:
        raise SlotIDError(f"The clip has no frame to choose from after {start_seconds:g} s. Set an earlier start.")
    if not any(seen for _, seen in survey.faces):
        survey.notes.append(
            f"No face was found ({detector.name}); the window was chosen by what changes in the middle of the picture."
        )
    if survey.best.num_frames < wanted:
        survey.notes.append(
            f"No {wanted} frames without a cut show the face well; the best window has {survey.best.num_frames}."
        )
    survey.duration = max(survey.duration, survey.best.end_seconds)
    return survey


def without_search(clip: ReferenceClip) -> Survey:
    """What the timeline can show of a window that was given and not searched."""
    end = clip.times[0] + clip.duration
    survey = Survey(end, windows=[WindowScore(clip.times[0], clip.times[-1], len(clip.frames), {})])
    for index in range(0, len(clip.frames), max(1, len(clip.frames) // 12)):
        pixels = (clip.frames[index] * 255).round().byte().numpy()
        survey.pictures.append((clip.times[index], shrink(pixels, 48)))
    return survey


def _promising(
    source: FrameSource, detector: Detector, start: float, count: int, rate: float, survey: Survey, report: Progress
) -> list[tuple[float, int]]:
    """Sounds the clip out at key frames -> the regions (start, frames) worth examining, in order of time."""
    values: dict[float, float] = {}
    for number, wanted in enumerate(np.linspace(start, survey.duration, PROBES, endpoint=False)):
        report(number, PROBES)
        found = next(iter(source.frames(float(wanted), only_key_frames=True)), None)
        if found is None or found[0] in values or found[0] < start - 1:
            continue
        time, load = found
        picture = shrink(load(), SMALL_SIDE)
        frame = torch.from_numpy(picture).float().div_(255)
        faces = faces_in(frame, detector)
        survey.faces.append((time, bool(faces)))
        survey.pictures.append((time, shrink(picture, 48)))
        values[time] = max((_value(frame, face) for face in faces), default=0.0)
    if not values:
        return [(start, count)]
    half = count / rate / 2
    latest = max(start, survey.duration - count / rate)
    chosen: list[float] = []
    for time in sorted(values, key=lambda time: -values[time]):
        begin = min(max(start, time - half), latest)
        if len(chosen) < REGIONS and all(abs(begin - other) >= count / rate for other in chosen):
            chosen.append(begin)
    return [(begin, count) for begin in sorted(chosen)]


def _value(frame: torch.Tensor, face: Face) -> float:
    region = face_region(frame, face.box)
    return sharpness(region) * exposure(region) * _largeness(face.box, frame.shape[:2])


def _largeness(box: Box, size: Sequence[int]) -> float:
    return min(1.0, max(sides(box)) / (LARGE_FACE * min(size)))


def _examine(
    source: FrameSource, detector: Detector, start: float, count: int, wanted: int, rate: float | None, survey: Survey,
    step: Callable[[], None],
) -> None:  # fmt: skip
    """Reads one region and adds its cuts and windows to the survey."""
    times, thumbnails, detections, examined = [], [], {}, {}
    for index, (time, load) in enumerate(itertools.islice(select_frames(source, None, start, rate), count)):
        try:
            picture = shrink(load(), SMALL_SIDE)
        except SlotIDError:
            raise
        except Exception:  # a damaged frame ends the region; read_clip says what happened
            break
        frame = torch.from_numpy(picture).float().div_(255)
        times.append(time)
        thumbnails.append(thumbnail(frame))
        if index % EXAMINE_EVERY == 0:
            detections[index] = faces_in(frame, detector)
            examined[index] = frame.mean(dim=-1, keepdim=True).expand(-1, -1, 3).half()
            survey.faces.append((time, bool(detections[index])))
            if index % (4 * EXAMINE_EVERY) == 0:
                survey.pictures.append((time, shrink(picture, 48)))
        step()
    if not times:
        return
    cuts = cuts_between(torch.stack(thumbnails))
    survey.cuts += [times[cut] for cut in cuts]
    survey.regions.append((times[0], times[-1]))
    for first, end in itertools.pairwise([0, *cuts, len(times)]):
        survey.windows += _score_shot(first, end, wanted, times, detections, examined)


def _score_shot(first: int, end: int, wanted: int, times, detections, examined) -> list[WindowScore]:
    """Every window of one shot, frames `first` to `end` of the region."""
    indices = [index for index in examined if first <= index < end]
    if not indices:
        return []
    tracks = link_faces({index: detections[index] for index in indices})
    faces = tracks[0].faces if tracks else {}
    measured = {index: _measure(examined[index].float(), faces.get(index), faces) for index in indices}
    length = min(wanted, largest_window(end - first))
    starts = sorted({*range(first, end - length + 1, START_EVERY), end - length})
    scores = []
    for start in starts:
        inside = [index for index in indices if start <= index < start + length]
        seen = [index for index in inside if index in faces] or (inside if not faces else [])
        if not seen:
            continue
        values = [measured[index] for index in seen]
        parts = {
            "change": min(1.0, spread(np.stack([value["appearance"] for value in values])) / MUCH_CHANGE),
            **{name: float(np.median([value[name] for value in values])) for name in ("sharp", "exposed", "large")},
            "seen": len(seen) / len(inside) if faces else 0.5,
            "length": length / wanted,
        }
        parts["change"] = max(parts["change"], 0.02)  # a still clip is poor, not worthless
        scores.append(WindowScore(times[start], times[start + length - 1], length, parts))
    return scores


def _measure(frame: torch.Tensor, face: Face | None, faces: dict[int, Face]) -> dict:
    """One examined frame; where there is no face at all in the shot, the middle of the picture stands for it."""
    height, width = frame.shape[:2]
    if face is not None:
        usual = np.median([max(sides(one.box)) for one in faces.values()])  # boxes that breathe are no change
        x, y = (face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2
        box = (x - usual / 2, y - usual / 2, x + usual / 2, y + usual / 2)
    else:
        side = min(height, width) / 2
        box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
    region = face_region(frame, box)
    return {
        "appearance": appearance(region),
        "sharp": sharpness(region),
        "exposed": max(exposure(region), 0.02),
        "large": _largeness(box, (height, width)),
    }
