"""Which of the people in a clip is the one on a picture."""

import numpy as np
import torch

from ...errors import SlotIDError
from .face import Detector, Face, area
from .find_faces import check_frames, faces_in
from .measure import appearance, face_region
from .tracking import SAME_PERSON, Track

FACES_LOOKED_AT = 5  # of each person
COLOR_BINS = 12
EXAMPLES = "insightface with a recognition model (such as w600k_r50.onnx beside det_10g.onnx)"


def subject_on_picture(
    picture: torch.Tensor, frames: torch.Tensor, tracks: list[Track], detector: Detector
) -> tuple[int, str | None]:
    """The number of the track that shows the picture's person, and a note where that is uncertain.

    With embeddings they decide; else shading and colours of the faces, which is a guess.

    Args:
        picture: (1, H, W, 3) in [0, 1]; its largest face counts, or the whole picture if it has none.
        frames: (T, H, W, 3), the clip that the tracks were found in.

    Raises:
        SlotIDError: the picture is none, or embeddings say that nobody in the clip is this person.
    """
    check_frames(picture)
    wanted = max(faces_in(picture[0], detector, embed=True), key=lambda face: area(face.box), default=None)
    if wanted is not None and wanted.embedding is not None:
        cosines = [-1.0 if one.embedding is None else float(one.embedding @ wanted.embedding) for one in tracks]
        best = int(np.argmax(cosines))
        if cosines[best] < SAME_PERSON:
            raise SlotIDError(
                f"Nobody in the clip is the person on subject_image (best cosine {cosines[best]:.2f}, needed "
                f"{SAME_PERSON}). Use another picture of the person, or disconnect it and set subject."
            )
        return best, None
    height, width = picture.shape[1:3]
    face = wanted or Face((0.0, 0.0, float(width), float(height)))
    likenesses = [_looks_alike(picture[0], face, frames, track) for track in tracks]
    best = int(np.argmax(likenesses))
    if len(tracks) == 1:
        return best, None
    return best, (
        f"Person {best} was chosen by shading and colours alone, which is a guess: look at the overlay. "
        f"{EXAMPLES} tells people apart."
    )


def _looks_alike(picture: torch.Tensor, face: Face, frames: torch.Tensor, track: Track) -> float:
    pattern, colors = appearance(face_region(picture, face.box)), _colors(picture, face)
    indices = sorted(track.faces)[:: max(1, len(track.faces) // FACES_LOOKED_AT)]
    return float(
        np.median(
            [
                pattern @ appearance(face_region(frames[index], track.faces[index].box))
                + np.minimum(colors, _colors(frames[index], track.faces[index])).sum()
                for index in indices
            ]
        )
    )


def _colors(frame: torch.Tensor, face: Face) -> np.ndarray:
    """Histogram of the face's hues: red and green as shares of all light, so that brightness does not count."""
    height, width = frame.shape[:2]
    left, top, right, bottom = (int(value) for value in face.box)
    pixels = frame[max(0, top) : min(height, bottom), max(0, left) : min(width, right), :3].reshape(-1, 3).cpu().numpy()
    shares = pixels[:, :2] / pixels.sum(axis=1, keepdims=True).clip(min=1e-3)
    counts, _, _ = np.histogram2d(shares[:, 0], shares[:, 1], bins=COLOR_BINS, range=((0, 1), (0, 1)))
    return counts.ravel() / max(counts.sum(), 1)
