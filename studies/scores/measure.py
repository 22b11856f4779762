"""Cosines of pairs of real faces: the same person and two people, as they are and spoilt."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from tqdm import tqdm

from slotid_core.evaluation.likeness.frames import evenly, read_video
from slotid_core.evaluation.likeness.people import look_twice, person_of
from slotid_core.picture_files import read_rgb
from slotid_core.recognisers.recogniser import Recogniser
from slotid_core.reference.faces.face import area

HALF_LOOKS = 6  # frames of each half of a clip
SPOILT_PEOPLE = 40


def blurred(radius: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda picture: np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


def compressed(quality: int) -> Callable[[np.ndarray], np.ndarray]:
    def spoil(picture: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
        return np.array(Image.open(buffer).convert("RGB"))

    return spoil


def smaller(side: int) -> Callable[[np.ndarray], np.ndarray]:
    def spoil(picture: np.ndarray) -> np.ndarray:
        image = Image.fromarray(picture)
        return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC).resize(image.size))

    return spoil


def cropped(share: float) -> Callable[[np.ndarray], np.ndarray]:
    """The lowest part of the picture is lost, and with it mouth and chin."""
    return lambda picture: picture[: round(len(picture) * (1 - share))]


def mirrored(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture[:, ::-1])


# On portraits of 512 pixels, whose faces are about 250 pixels wide.
SPOILS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "blur of 2 pixels": blurred(2), "blur of 6 pixels": blurred(6), "blur of 12 pixels": blurred(12),
    "shrunk to 128 pixels": smaller(128), "shrunk to 64 pixels": smaller(64),
    "JPEG of quality 20": compressed(20), "JPEG of quality 5": compressed(5),
    "lowest 30% cut off": cropped(0.3), "lowest 40% cut off": cropped(0.4), "mirrored": mirrored,
}  # fmt: skip


def measure(data: Path, recognisers: list[Recogniser], limit: int) -> dict:
    figures: dict[str, float] = {}
    pairs: dict[str, dict[str, np.ndarray]] = {}
    scores: dict[str, list[np.ndarray]] = {}
    numbers = sorted({path.name.split("_")[0] for path in (data / "portraits").glob("*_neutral.jpg")})
    numbers = numbers[:limit] if limit else numbers
    for recogniser in recognisers:
        name = recogniser.name
        portraits = _portraits(data, numbers, recogniser)
        same, different = _pairs(portraits["neutral"], portraits["smiling"])
        pairs[f"{name}, portraits"] = {"same": same, "different": different}
        figures |= _worth(f"{name}.portraits", same, different)
        scores[name] = [portraits["neutral"] @ portraits["smiling"].T]
        firsts, seconds, seen = _halves(data, recogniser)
        clips_same, clips_different = _pairs(firsts, seconds)
        pairs[f"{name}, halves of clips"] = {"same": clips_same, "different": clips_different}
        figures |= _worth(f"{name}.clips", clips_same, clips_different) | {f"{name}.clips.detected": seen}
        figures |= _spoilt(data, numbers[:SPOILT_PEOPLE], portraits["neutral"], recogniser)
        figures[f"{name}.threshold"] = threshold_of(np.concatenate([different, clips_different]))
    names = [recogniser.name for recogniser in recognisers]
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            a, b = (_off_diagonal(scores[one][0]) for one in (first, second))
            known = np.isfinite(a) & np.isfinite(b)
            figures[f"agreement.{first}.{second}.strangers"] = float(np.corrcoef(a[known], b[known])[0, 1])
            a, b = (np.diag(scores[one][0]) for one in (first, second))
            known = np.isfinite(a) & np.isfinite(b)
            figures[f"agreement.{first}.{second}.same"] = float(np.corrcoef(a[known], b[known])[0, 1])
    return {"figures": figures, "pairs": pairs}


def auc(same: np.ndarray, different: np.ndarray) -> float:
    """How often a pair of one person scores above one of two (Mann and Whitney's statistic; ties count half)."""
    order = np.sort(different)
    below, upto = np.searchsorted(order, same, "left"), np.searchsorted(order, same, "right")
    return float((below + upto).mean() / 2 / len(order))


def threshold_of(different: np.ndarray) -> float:
    """The cosine that one pair of two people in a thousand reaches: a false match rate of 0.1%."""
    return float(np.quantile(different, 0.999))


def _worth(key: str, same: np.ndarray, different: np.ndarray) -> dict[str, float]:
    return {
        f"{key}.auc": auc(same, different),
        f"{key}.same": float(same.mean()), f"{key}.same_least": float(same.min()),
        f"{key}.different": float(different.mean()), f"{key}.different_most": float(different.max()),
        f"{key}.overlap": float((different >= same.min()).mean()),
        f"{key}.same_pairs": len(same), f"{key}.different_pairs": len(different),
    }  # fmt: skip


def _pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cosine = first @ second.T
    same, different = np.diag(cosine), _off_diagonal(cosine)
    return same[np.isfinite(same)], different[np.isfinite(different)]


def _off_diagonal(matrix: np.ndarray) -> np.ndarray:
    return matrix[~np.eye(len(matrix), dtype=bool)]


def _portraits(data: Path, numbers: list[str], recogniser: Recogniser) -> dict[str, np.ndarray]:
    return {
        look: _stacked([
            _vector(recogniser, read_rgb(data / "portraits" / f"{number}_{look}.jpg"))
            for number in tqdm(numbers, desc=f"{recogniser.name} {look}")
        ])
        for look in ("neutral", "smiling")
    }  # fmt: skip


def _stacked(vectors: list[np.ndarray]) -> np.ndarray:
    width = max(map(len, vectors))
    return np.stack([vector if len(vector) == width else np.full(width, np.nan) for vector in vectors])


def _vector(recogniser: Recogniser, picture: np.ndarray) -> np.ndarray:
    """The largest face's vector; NaN without a face."""
    face = max(look_twice(recogniser, picture), key=lambda found: area(found.box), default=None)
    if face is None or face.embedding is None:
        return np.full(1, np.nan)
    return face.embedding


def _halves(data: Path, recogniser: Recogniser) -> tuple[np.ndarray, np.ndarray, float]:
    """Of each clip the person in its first half and in its second, and the share of frames with a face."""
    folders = [data / "faces", data / "faces_more"]
    files = [file for folder in folders for file in sorted(folder.iterdir()) if file.suffix in (".mp4", ".mpg")]
    firsts, seconds, seen, looked = [], [], 0, 0
    for file in tqdm(files, desc=f"{recogniser.name} clips"):
        frames = read_video(file)
        half = len(frames) // 2
        parts = [half * side + evenly(half, HALF_LOOKS) for side in (0, 1)]
        people = [person_of(file.stem, recogniser, list(frames.pixels[part])) for part in parts]
        firsts.append(people[0].vector)
        seconds.append(people[1].vector)
        seen, looked = seen + sum(one.faces for one in people), looked + sum(one.pictures for one in people)
    return np.stack(firsts), np.stack(seconds), seen / looked


def _spoilt(data: Path, numbers: list[str], neutral: np.ndarray, recogniser: Recogniser) -> dict[str, float]:
    """The smiling portrait is spoilt and compared with the whole neutral one of the same person and of the next."""
    pictures = [read_rgb(data / "portraits" / f"{number}_smiling.jpg") for number in numbers]
    known = neutral[: len(numbers)]
    figures = {}
    for what, spoil in tqdm({"unspoilt": lambda picture: picture, **SPOILS}.items(), desc=f"{recogniser.name} spoilt"):
        vectors = [_vector(recogniser, np.ascontiguousarray(spoil(picture))) for picture in pictures]
        found = [n for n, vector in enumerate(vectors) if len(vector) > 1]
        key = f"{recogniser.name}.{what}"
        figures[f"{key}.detected"] = len(found) / len(vectors)
        own = [float(vectors[n] @ known[n]) for n in found]
        others = [float(vectors[n] @ known[(n + 1) % len(known)]) for n in found]
        figures[f"{key}.same"] = float(np.mean(own)) if own else float("nan")
        figures[f"{key}.stranger"] = float(np.mean(others)) if others else float("nan")
    return figures
