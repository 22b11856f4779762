"""Figures of many videos: kept one file each, so that a stopped run goes on; summed up with intervals over people."""

import base64
import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...files import read_json, write_json
from ...recognisers.recogniser import Recogniser
from ..estimators import estimate, mean
from ..intervals import bootstrap
from .frames import is_picture, is_video
from .jobs import Job
from .score import Scored

VERSION = 2  # of what is counted; results of another are not taken up


@dataclass(frozen=True)
class Result:
    """One video: the figures, the curves by recogniser and person, what was suspicious, and features (N, D) of its
    faces by the name of their figure.
    """

    job: Job
    figures: dict[str, float]
    curves: dict[str, dict[str, list]]
    suspects: dict[str, list[int]]
    faces: dict[str, np.ndarray]


def content_key(job: Job, recognisers: list[Recogniser], settings: dict) -> str:
    """Of the content of video and references and of everything that decides figures; names and folders do not count."""
    digest = hashlib.sha256(json.dumps([VERSION, settings, job.prompt]).encode())
    digest.update(json.dumps([recogniser.description for recogniser in recognisers]).encode())
    for file in (job.video, *(path for paths in job.people.values() for path in paths)):
        for part in sorted(file.rglob("*")) if file.is_dir() else [file]:
            if part.is_file() and (is_picture(part) or is_video(part)):
                digest.update(hashlib.sha256(part.read_bytes()).digest())
    digest.update(json.dumps(sorted(job.people)).encode())
    return digest.hexdigest()[:24]


def keep(folder: Path, key: str, job: Job, scored: Scored, faces: dict[str, np.ndarray]) -> Result:
    curves = {
        f"{recogniser}.{person}": {
            "frame": track.indices.tolist(),
            "seconds": [round(float(value), 4) for value in track.seconds],
            "cosine": [None if np.isnan(value) else float(value) for value in track.cosine],
        }
        for (recogniser, person), track in scored.tracks.items()
    }
    for name in ("sharpness", "change"):
        values = getattr(scored.frames, name)
        curves[f"frames.{name}"] = {
            "frame": list(range(len(values))), "cosine": [None if np.isnan(v) else float(v) for v in values]
        }  # fmt: skip
    figures = {name: None if not np.isfinite(value) else value for name, value in scored.figures.items()}
    written = {name: _as_text(features) for name, features in faces.items()}
    entry = {"figures": figures, "curves": curves, "suspects": scored.suspects, "faces": written}
    write_json(folder / f"{key}.json", entry)
    return Result(job, scored.figures, curves, scored.suspects, faces)


def kept(folder: Path, key: str, job: Job) -> Result | None:
    path = folder / f"{key}.json"
    if not path.is_file():
        return None
    found = read_json(path, "Delete it, and the video is scored again.")
    figures = {name: float("nan") if value is None else value for name, value in found["figures"].items()}
    faces = {name: _from_text(text) for name, text in found["faces"].items()}
    return Result(job, figures, found["curves"], found["suspects"], faces)


def _as_text(features: np.ndarray) -> dict:
    """Features in JSON, so that a result stays one file that is there whole or not at all."""
    numbers = np.ascontiguousarray(features, dtype="<f4")
    return {"shape": list(numbers.shape), "float32": base64.b64encode(numbers.tobytes()).decode()}


def _from_text(entry: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(entry["float32"]), "<f4").reshape(entry["shape"])


def summary(results: list[Result]) -> dict[str, float]:
    """Flat keys `<row>.<figure>` with `.low` and `.high`: means over people, each person's videos averaged with it."""
    figures: dict[str, float] = {}
    rows: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        rows[result.job.row].append(result)
    for row, members in rows.items():
        names = dict.fromkeys(name for member in members for name in member.figures)
        of: dict[str, list[Result]] = defaultdict(list)
        for member in members:
            of["+".join(member.job.people)].append(member)
        figures[f"{row}.videos"], figures[f"{row}.people"] = len(members), len(of)
        most = max(map(len, of.values()))
        for name in names:
            if name.endswith("worst_frame"):
                continue
            values = np.full((len(of), most), np.nan)
            for place, videos in enumerate(of.values()):
                values[place, : len(videos)] = [video.figures.get(name, np.nan) for video in videos]
            figures[f"{row}.{name}"] = estimate(values, mean)
            figures[f"{row}.{name}.low"], figures[f"{row}.{name}.high"] = bootstrap(values, mean)
    return figures
