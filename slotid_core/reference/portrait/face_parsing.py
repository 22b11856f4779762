"""The person in a portrait by a face parsing network of facexlib, when package and weights are there.

Nothing is downloaded: facexlib fetches its weights by itself, so its networks are built here and given a file that
lies in a model folder. Both networks name 19 parts, hair and clothes among them; part 0 is the background.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as functional

from ...errors import SlotIDError
from ...tensor_shapes import fill
from ...weights import naming, read_pth
from ..faces.face import Box

SIDE = 512  # pixels that both networks were trained on
AROUND = 2.5  # side of the square that is looked at, in sides of the face's box; they know crops of a head
PARTS = 19
FILES = {"parsing_parsenet.pth": "ParseNet", "parsing_bisenet.pth": "BiSeNet"}
# Mean and standard deviation of the pixels that each was trained on.
PIXELS = {
    "ParseNet": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "BiSeNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclass(frozen=True)
class FaceParser:
    """`parts`: picture (1, 3, 512, 512) in [0, 1] -> logits (1, 19, 512, 512)."""

    name: str
    parts: Callable[[torch.Tensor], torch.Tensor]

    @torch.no_grad()
    def person_mask(self, frame: torch.Tensor, face: Box) -> torch.Tensor:
        """As `background.person_mask`; what lies far from the face counts as background."""
        square, inside, place = _square(frame, face)
        picture = functional.interpolate(square, size=(SIDE, SIDE), mode="bilinear", antialias=True).clamp(0, 1)
        person = 1 - self.parts(picture).softmax(1)[:, :1]
        person = functional.interpolate(person, size=square.shape[-2:], mode="bilinear", antialias=True)
        mask = frame.new_zeros(frame.shape[:2], dtype=torch.float32)
        mask[place] = person[0, 0][inside]
        return mask.clamp(0, 1)


def find_face_parser(folders: tuple[str, ...]) -> tuple[FaceParser | None, str]:
    """The parser whose file lies in one of the folders; or None, and why a file that lies there is not used."""
    found = [(Path(folder) / name, kind) for folder in folders for name, kind in FILES.items()]
    path, kind = next((pair for pair in found if pair[0].is_file()), (None, ""))
    if path is None:
        return None, ""
    try:
        return load_face_parser(path, kind), ""
    except SlotIDError as error:
        return None, str(error)


@lru_cache(maxsize=2)
def load_face_parser(path: Path, kind: str) -> FaceParser:
    """Raises a SlotIDError, which is not remembered: once the remedy is applied, the next call finds it."""
    try:
        # An optional package.
        from facexlib.parsing.bisenet import BiSeNet  # pyright: ignore[reportMissingImports]
        from facexlib.parsing.parsenet import ParseNet  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise SlotIDError(f"{path.name} is not used, as facexlib is not installed ({error}).") from error
    network = ParseNet(in_size=SIDE, out_size=SIDE, parsing_ch=PARTS) if kind == "ParseNet" else BiSeNet(PARTS)
    with naming(path):
        fill(network, read_pth(path), f"facexlib's {kind}, so download it again")
    network.eval().requires_grad_(False)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in PIXELS[kind])
    return FaceParser(f"facexlib {kind}", lambda picture: network((picture.cpu() - mean) / deviation)[0])


def _square(frame: torch.Tensor, face: Box):
    """The square around the face (1, 3, S, S), edges repeated; where it lies in the frame, and the frame in it."""
    height, width = frame.shape[:2]
    side = max(8, round(AROUND * max(face[2] - face[0], face[3] - face[1])))
    left, top = round((face[0] + face[2] - side) / 2), round((face[1] + face[3] - side) / 2)
    rows = torch.arange(top, top + side, device=frame.device)
    columns = torch.arange(left, left + side, device=frame.device)
    square = frame.float()[rows.clamp(0, height - 1)][:, columns.clamp(0, width - 1)]
    inside = (
        slice(max(0, -top), max(0, min(side, height - top))),
        slice(max(0, -left), max(0, min(side, width - left))),
    )
    place = (
        slice(max(0, top), max(0, min(height, top + side))),
        slice(max(0, left), max(0, min(width, left + side))),
    )
    return square.permute(2, 0, 1)[None], inside, place
