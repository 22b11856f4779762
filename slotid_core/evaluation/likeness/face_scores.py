"""Figures of a track: as the published evaluations count, and what they leave out.

Published evaluations skip frames in which no face was found, so a video of a turned back is no worse for it. So
`detected` stands beside each, and `with_missing` counts such frames as 0.
"""

import numpy as np

from ...recognisers.recogniser import Recogniser
from .frames import evenly
from .track import Track

STEP_LIMIT = 4.0  # times the usual distance between neighbours: from there on another face begins


def face_figures(track: Track, count: int, recogniser: Recogniser) -> dict[str, float]:
    """Figures of one person in a video of `count` frames; see `FACE_FIGURES`."""
    cosine = track.cosine
    found = track.found
    figures = {
        "similarity": _mean(cosine),
        "detected": float(found.mean()),
        "with_missing": float(np.where(found, np.maximum(cosine, 0.0), 0.0).mean()),
        "zeros": float((cosine[found] <= 0).mean()) if found.any() else float("nan"),
        "opens2v": published(track, count, 32, drop_zeros=False),
        "opens2v_dropped": published(track, count, 32, drop_zeros=True),
        "consisid": published(track, count, 16, drop_zeros=False),
        "worst": float(np.nanmin(cosine)) if found.any() else float("nan"),
        "worst_frame": float(track.indices[np.nanargmin(cosine)]) if found.any() else float("nan"),
        "steady": _mean(track.steady),
        "calibrated": float(recogniser.calibrated(_mean(cosine))),
    }
    return figures | drift(track)


FACE_FIGURES = {
    "similarity": "mean cosine of frames with a face; no floor and nothing dropped",
    "detected": "share of the frames looked at in which the person's face was found",
    "with_missing": "the same mean with 0 for frames without a face and for cosines below 0",
    "zeros": "share of frames with a face whose cosine is 0 or less",
    "opens2v": "32 frames, cosines floored at 0, frames without a face skipped, zeros kept",
    "opens2v_dropped": "the same, zeros dropped, as OpenS2V does for its second recogniser",
    "consisid": "as opens2v over 16 frames",
    "worst": "the least cosine",
    "worst_frame": "the frame that has it",
    "steady": "mean cosine between the face and that in the frame looked at before",
    "calibrated": "similarity with strangers at 0 and the same person at 1, by what docs/scores.md measured",
    "drift": "change of the cosine a second, by least squares; negative = less like the person",
    "end_minus_start": "mean cosine of the last third minus that of the first",
}


def published(track: Track, count: int, looks: int, drop_zeros: bool) -> float:
    """FaceSim as OpenS2V's and ConsisID's scripts count it: the mean of max(0, cosine) over evenly spaced frames."""
    chosen = np.isin(track.indices, evenly(count, looks))
    values = np.maximum(track.cosine[chosen & track.found], 0.0)
    return _mean(values[values > 0] if drop_zeros else values)


def drift(track: Track) -> dict[str, float]:
    """How the likeness changes on the way; NaN where fewer than three frames show the face."""
    found = track.found
    if found.sum() < 3:
        return {"drift": float("nan"), "end_minus_start": float("nan")}
    seconds, cosine = track.seconds[found], track.cosine[found]
    start, end = track.seconds[0], track.seconds[-1]
    third = (end - start) / 3
    first, last = cosine[seconds <= start + third], cosine[seconds >= end - third]
    spread = seconds - seconds.mean()
    slope = float(spread @ cosine / (spread @ spread)) if spread.any() else 0.0
    return {"drift": slope, "end_minus_start": _mean(last) - _mean(first)}


def doubtful_frames(track: Track, recogniser: Recogniser) -> np.ndarray:
    """Frames in which another face than the video's usual one is seen.

    A frame is doubtful if its cosine lies below the recogniser's threshold while the video's median lies above it, or
    if it lies far below the median: `STEP_LIMIT` times the median distance from it.
    """
    if not track.found.any():
        return np.empty(0, dtype=int)
    middle = float(np.nanmedian(track.cosine))
    usual = max(float(np.nanmedian(np.abs(track.cosine - middle))), 0.01)
    least = middle - 1.5 * STEP_LIMIT * usual
    if np.isfinite(recogniser.threshold) and middle > recogniser.threshold:
        least = max(least, recogniser.threshold)
    with np.errstate(invalid="ignore"):
        return track.indices[track.cosine < least]


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
