"""Pictures cut from a video file: windows, the tracked face in each, and its best frame as the portrait."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import SlotIDError
from ..reference.decode.clip import ReferenceClip, read_clip
from ..reference.decode.pyav_reader import PyAVVideo
from ..reference.faces.crop import cut_squares, square_path
from ..reference.faces.detector import Detector, find_detector
from ..reference.faces.face import Face, area
from ..reference.faces.face_clip import SMALLEST_FACE, crop_jitter, make_face_clip
from ..reference.faces.tracking import Track, boxes_for_every_frame
from ..reference.portrait.select import select_portrait
from .clip import Clip
from .config import PrepareConfig
from .pixels import Pixels, fill, place_of
from .quality import quality_of
from .source import Window

SMOOTHING = 8  # frames, as the face tracker's default
LEAST_SEEN = 0.2  # of a window's frames; as for tracks of detected faces


@dataclass(frozen=True)
class VideoFacts:
    """duration in seconds, rate in frames per second, upright height and width in pixels."""

    duration: float | None
    rate: float
    height: int
    width: int


class RealClips:
    """See `source.Source`."""

    shares_faces = False

    def __init__(self, config: PrepareConfig):
        self.config = config
        self.detector = find_detector(config.detector_models, config.detector)

    def windows(self, clip: Clip) -> list[Window]:
        video = probe(clip.video)
        return [
            lambda start=start: real_pixels(clip, video, start, self.config, self.detector)
            for start in window_starts(video, self.config)
        ]


def probe(path: str) -> VideoFacts:
    """Looks at the first frame only.

    Raises:
        SlotIDError: no such file, or no picture in it.
    """
    if not Path(path).is_file():
        raise SlotIDError(f"there is no video file {path}")
    video = PyAVVideo(Path(path))
    try:
        first = next(iter(video.frames()), None)
        if first is None:
            raise SlotIDError(f"{Path(path).name} holds no frame that can be decoded ({video.failure or 'empty'})")
        height, width = first[1]().shape[:2]
        return VideoFacts(video.duration, video.rate, height, width)
    finally:
        video.close()


def window_starts(facts: VideoFacts, config: PrepareConfig) -> list[float]:
    """Seconds at which windows begin: at most `windows_per_clip`, none overlapping, spread evenly over the clip."""
    length = config.sizes.frames / (config.frames_per_second or facts.rate)
    if facts.duration is None:
        return [0.0]
    count = max(1, min(config.windows_per_clip, int(facts.duration / length)))
    slack = max(0.0, facts.duration - count * length)
    return [round(slack * (n + 0.5) / count + n * length, 4) for n in range(count)]


def real_pixels(clip: Clip, video: VideoFacts, start: float, config: PrepareConfig, detector: Detector) -> Pixels:
    """One window of a video.

    Raises:
        SlotIDError: the window is too short, the file is damaged, or no face is to be seen.
    """
    sizes = config.sizes
    short_side = max(config.short_side, min(sizes.height, sizes.width))
    read = read_clip(clip.video, sizes.frames, start, config.frames_per_second, short_side)
    frames = read.frames
    if len(frames) < sizes.frames:
        raise SlotIDError(
            f"it gives {len(frames)} of {sizes.frames} frames from {start:g} s on; lower frames, or leave it out"
        )
    if clip.boxes:
        squares, report, found_by = follow_boxes(clip.boxes, read, video, config)
    else:
        face = make_face_clip(frames, detector, size=16, margin=config.margin, smoothing=SMOOTHING)
        squares, report, found_by = face.squares, face.report, face.report["detector"]
    reference = cut_squares(frames[: sizes.reference_frames], squares[: sizes.reference_frames], sizes.reference_size)
    faces = cut_squares(frames, squares, sizes.portrait_size)
    portrait = select_portrait(faces, detector, candidates=1)
    chosen = portrait.report["frame"]
    facts = {
        "window": {"start": read.times[0], "frames": len(frames), "frames_per_second": read.frames_per_second},
        "detector": found_by,
        "crop": _plain(report | {"portrait_frame": chosen, "clip_notes": list(read.notes)}),
    }
    corners = np.concatenate([squares[:, :2], squares[:, :2] + squares[:, 2:]], axis=1)  # (T, 4)
    source = config.folder or config.consisid
    if source is not None and source.least_quality:
        facts["quality"] = _plain(quality_of(faces, detector, report, source.least_quality))
    (left_edge, top_edge), (right_edge, bottom_edge) = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    around = (left_edge, top_edge, right_edge, bottom_edge)
    video_frames = fill(frames, sizes.height, sizes.width, around)
    (_, resized_width), top, left = place_of(frames.shape[1], frames.shape[2], sizes.height, sizes.width, around)
    moved = squares * (resized_width / frames.shape[2]) - np.array([left, top, 0])
    picture = faces[chosen : chosen + 1]
    return Pixels(
        video_frames, reference, portrait.image, picture, facts=facts, face_squares=moved, face_frames=lambda: faces
    )


def follow_boxes(
    path: str, clip: ReferenceClip, video: VideoFacts, config: PrepareConfig
) -> tuple[np.ndarray, dict, str]:
    """Squares (T, 3) in pixels of the clip's frames from annotated boxes, a report, and what they were boxes of.

    The subject is who covers the largest area over time; its face boxes are taken, or its head boxes if it has none
    in this window.

    Raises:
        SlotIDError: the file is unreadable, or nobody is boxed for long enough in this window.
    """
    tracks = read_boxes(path)
    indices = [round(time * video.rate) for time in clip.times]
    scale = clip.frames.shape[1] / video.height
    for part in ("face", "head"):
        present = {
            who: {i: boxes[index].scaled(scale) for i, index in enumerate(indices) if index in boxes}
            for who, boxes in tracks[part].items()
        }
        present = {who: faces for who, faces in present.items() if len(faces) >= LEAST_SEEN * len(indices)}
        if present:
            break
    else:
        raise SlotIDError(f"{Path(path).name} boxes nobody's face or head in enough frames of this window")
    subject = max(present, key=lambda who: Track(present[who]).weight)
    track = Track(present[subject])
    boxes = boxes_for_every_frame(track, len(indices))
    side = float(np.median((boxes[:, 2:] - boxes[:, :2]).max(axis=1)))
    if side < SMALLEST_FACE:
        raise SlotIDError(f"the {part} is only {side:.0f} pixels large; {SMALLEST_FACE} are needed")
    height, width = clip.frames.shape[1:3]
    squares = square_path(boxes, height, width, config.margin, SMOOTHING)
    report = {
        "people": len(present),
        "subject": subject,
        "detection_rate": len(track.faces) / len(indices),
        "crop_jitter_percent": crop_jitter(squares),
    }
    return squares, report, f"data set's {part} boxes"


def read_boxes(path: str) -> dict[str, dict[str, dict[int, Face]]]:
    """ConsisID's boxes: "face" or "head" -> person -> frame -> box in pixels of the video."""
    tracks: dict[str, dict[str, dict[int, Face]]] = {"face": defaultdict(dict), "head": defaultdict(dict)}
    try:
        frames = json.loads(Path(path).read_text(encoding="utf-8"))
        for index, parts in frames.items():
            for part, people in tracks.items():
                for found in parts.get(part) or ():
                    left, top, right, bottom = (float(found["box"][corner]) for corner in ("x1", "y1", "x2", "y2"))
                    box = (left, top, right, bottom)
                    who = str(found.get("new_track_id", found.get("track_id")))
                    before = people[who].get(int(index))
                    if before is None or area(box) > area(before.box):
                        people[who][int(index)] = Face(box, float(found.get("confidence", 1.0)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SlotIDError(f"the boxes in {Path(path).name} cannot be read ({error!r})") from error
    return tracks


def _plain(report: dict) -> dict:
    """Numbers that print the same everywhere: six digits, and no NumPy types."""

    def plain(value):
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if isinstance(value, bool | str | None):
            return value
        if isinstance(value, np.integer | int):
            return int(value)
        return round(float(value), 6)

    return {str(key): plain(item) for key, item in report.items()}
