"""Fréchet distances of a row's faces to the references' faces (Heusel et al. 2017, arXiv 1706.08500).

FID is this distance on one network's features: the Inception network that TensorFlow published in 2015, in
torch-fidelity's copy. `face_fid` is that, on cropped faces. The same distance on a recogniser's vectors has the
recogniser's name. ConsisID's "FID" is neither: it averages over pairs of single pictures.

The distance of few faces is too large, and falls with their number, so compare rows with equally many.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...errors import SlotIDError
from ...recognisers.recogniser import Recogniser
from ...weights import read_pth
from .face_crops import face_crops
from .frames import Frames
from .score import Scored, key_of

if TYPE_CHECKING:
    from .results import Result

FACE_FID, FACE_FRECHET = "face_fid", "face_frechet"
FACE_SET_FIGURES = {
    FACE_FID: "Fréchet Inception distance of the row's cropped faces to the references', by torch-fidelity's network",
    f"<recogniser>.{FACE_FRECHET}": "the same distance on a recogniser's vectors, 0 to 4; not an FID",
}
BATCH = 16
LEAST = 2  # faces that a covariance needs


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Of the normal distributions with the means and covariances of (N, D) and (M, D) features; at least 0.

    The trace of the root of the covariances' product is the sum of the singular values of one set of centred features
    times the other's transpose. So no root of a singular matrix is taken when faces are fewer than features.
    """
    means, factors = [], []
    for features in (first, second):
        features = np.asarray(features, dtype=np.float64)
        means.append(features.mean(axis=0))
        centred = (features - means[-1]) / np.sqrt(len(features) - 1)
        factors.append(np.linalg.qr(centred, mode="r") if len(centred) > centred.shape[1] else centred)
    root = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    spread = sum(np.square(factor).sum() for factor in factors)
    return max(0.0, float(np.square(means[0] - means[1]).sum() + spread - 2 * root))


class Inception:
    """The network of FID by torch-fidelity, from its file.

    Raises:
        SlotIDError: the package or a tensor is missing.
    """

    def __init__(self, path: Path):
        read_pth(path)  # refuses a file whose reading would run code; torch-fidelity reads it without asking
        try:
            published = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
        except ImportError as error:
            raise SlotIDError(f"{path.name} is there, but torch-fidelity is not. pip install torch-fidelity") from error
        try:
            self.network: Any = published.FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path)
            )
        except RuntimeError as error:
            raise SlotIDError(f"{path.name} is not torch-fidelity's Inception network. Copy it again.") from error

    @torch.inference_mode()
    def features(self, crops: np.ndarray) -> np.ndarray:
        """(N, 299, 299, 3) uint8 -> (N, 2048) float32."""
        pictures = torch.from_numpy(crops).movedim(-1, 1)
        parts = [self.network(pictures[start : start + BATCH])[0] for start in range(0, len(pictures), BATCH)]
        return torch.cat(parts).numpy() if parts else np.empty((0, 2048), np.float32)


def faces_of(
    scored: Scored, frames: Frames, recognisers: Sequence[Recogniser], conditioned: Sequence[str],
    inception: Inception | None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Features (N, D) of a video's faces by the name of their figure: each recogniser's vectors, and Inception's of
    the faces that the first recogniser found.
    """
    found = {}
    for recogniser in recognisers:
        tracks = [track for (name, _), track in scored.tracks.items() if name == recogniser.name]
        vectors = [vector for track in tracks for vector in track.vectors if vector is not None]
        if vectors:
            found[frechet_key(recogniser.name, conditioned)] = np.stack(vectors).astype(np.float32)
        if inception is not None and FACE_FID not in found:
            places = [
                (frames.pixels[index], box) for track in tracks
                for index, box in zip(track.indices, track.boxes, strict=True) if box is not None
            ]  # fmt: skip
            pictures, boxes = zip(*places, strict=True) if places else ((), ())
            found[FACE_FID] = inception.features(face_crops(pictures, boxes))
    return found


def frechet_key(recogniser: str, conditioned: Sequence[str]) -> str:
    return f"{key_of(recogniser, conditioned)}.{FACE_FRECHET}"


def face_set_figures(results: Sequence["Result"], references: Mapping[tuple[str, str], np.ndarray]) -> dict[str, float]:
    """Flat keys `<row>.<figure>` with `.faces` and `.reference_faces`, the numbers of both; no intervals, as the
    distance depends on how many faces there are.

    Args:
        references: (features' name, person) -> (N, D) features of the faces in their references.
    """
    figures: dict[str, float] = {}
    for row in dict.fromkeys(result.job.row for result in results):
        members = [result for result in results if result.job.row == row]
        people = dict.fromkeys(name for member in members for name in member.job.people)
        for name in dict.fromkeys(name for member in members for name in member.faces):
            known = [references[name, person] for person in people if (name, person) in references]
            seen = [member.faces[name] for member in members if name in member.faces]
            theirs, ours = np.concatenate(known or [np.empty((0, 1))]), np.concatenate(seen)
            if min(len(theirs), len(ours)) >= LEAST:
                figures[f"{row}.{name}"] = frechet_distance(ours, theirs)
                figures[f"{row}.{name}.faces"], figures[f"{row}.{name}.reference_faces"] = len(ours), len(theirs)
    return figures
